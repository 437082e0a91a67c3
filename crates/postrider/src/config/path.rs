//! Where a value stands in the document: written `routing.webhooks[2].url` for people and
//! `/routing/webhooks/2/url` for JSON.

use serde_json::Value;

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// The steps from the document's root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// One step deeper, into a mapping.
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// One step deeper, into a list.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// What holds the value; `None` at the root.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, holder) = self.0.split_last()?;
        Some(Self(holder.to_vec()))
    }

    /// Reads a JSON pointer into `root`, whose lists tell indexes from keys.
    pub(crate) fn from_pointer(pointer: &str, root: &Value) -> Self {
        let mut path = Self::default();
        let mut at = Some(root);
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            path = match (at, token.parse::<usize>()) {
                (Some(Value::Array(_)), Ok(index)) => path.index(index),
                _ => path.key(&token),
            };
            at = path.find(root);
        }
        path
    }

    /// Reads a path as people write it. A key may hold dots: where `root` has such a key it is taken whole,
    /// and what is not in `root` is split at its dots.
    pub(crate) fn from_text(text: &str, root: &Value) -> Self {
        let mut path = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = next_step(rest, path.find(root));
            path = path.with(step);
            rest = after;
        }
        path
    }

    /// The value at this path.
    pub(crate) fn find<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(root, |at, step| match step {
            Step::Key(key) => at.get(key),
            Step::Index(index) => at.get(index),
        })
    }
}

/// The first step of a text, and what follows it.
fn next_step<'a>(text: &'a str, at: Option<&Value>) -> (Step, &'a str) {
    if let Some((index, after)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']'))
        && let Ok(index) = index.parse()
    {
        return (Step::Index(index), after.strip_prefix('.').unwrap_or(after));
    }
    let keys = at.and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
    let ends_there = |key: &&String| {
        let after = text.strip_prefix(key.as_str());
        after.is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
    };
    let known = keys.filter(ends_there).map(String::len).max();
    let end = known.unwrap_or_else(|| text.find(['.', '[']).filter(|end| *end > 0).unwrap_or(text.len()));
    let after = &text[end..];
    (
        Step::Key(text[..end].to_owned()),
        after.strip_prefix('.').unwrap_or(after),
    )
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_three_ways_to_write_a_path_agree() {
        let root =
            json!({"kafka": {"properties": {"a.b": "c", "a": {"b": 1}}}, "routing": {"webhooks": [{}, {"url": "x"}]}});
        for (text, pointer) in [
            ("routing.webhooks[1].url", "/routing/webhooks/1/url"),
            ("kafka.properties.a.b", "/kafka/properties/a.b"),
            ("nothing.here[3]", "/nothing/here/3"),
            ("", ""),
        ] {
            let path = Path::from_text(text, &root);
            assert_eq!(path.to_string(), text);
            if !text.starts_with("nothing") {
                assert_eq!(path, Path::from_pointer(pointer, &root), "{text}");
                assert_eq!(path.find(&root), root.pointer(pointer), "{text}");
            }
        }
    }

    #[test]
    fn odd_texts_end() {
        for text in ["[", "[x]", ".", "..", "a..b", "a[", "a]b", "[1]x"] {
            let _ = Path::from_text(text, &Value::Null);
        }
    }
}
