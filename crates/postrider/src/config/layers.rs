//! The layers that a person writes: a file, the environment, flags. Each is read into a document that
//! remembers where its values were said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};

use postrider_kafka::config::is_secret_property;
use postrider_types::Fault;
use serde_json::Value;

use super::document;
use super::environment;
use super::fault::{Origin, PlacedFault};
use super::interpolation::follow;
use super::path::{Path, Step};
use super::shape::Shape;

/// The largest configuration file.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Where the configuration is read from. Variables and flags may be secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The default of `instance_id`.
    pub(crate) host: String,
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The environment's variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// Flags: paths and their values as text.
    pub(crate) flags: Vec<(String, String)>,
}

/// The file to read: the flag's, else the variable's, else the standard one where it exists.
pub(crate) fn discover(flag: Option<PathBuf>, variable: Option<&str>, standard: &FilePath) -> Option<PathBuf> {
    let named = flag.or_else(|| variable.filter(|path| !path.is_empty()).map(PathBuf::from));
    named.or_else(|| standard.exists().then(|| standard.to_owned()))
}

/// One layer's document, with where it was said.
pub(crate) struct Layer {
    pub(crate) value: Value,
    said: Said,
}

enum Said {
    File { file: PathBuf, lines: BTreeMap<Path, u64> },
    Variables(BTreeMap<Path, String>),
    Flags,
}

/// Reads all layers, the weakest first, and follows their references. What cannot be followed is added to `faults`.
pub(crate) fn read(sources: &Sources, shape: &Shape, faults: &mut Vec<PlacedFault>) -> Result<Vec<Layer>, PlacedFault> {
    let file = sources.file.as_deref().map(Layer::from_file).transpose()?;
    let (value, names) = environment::settings(&sources.variables, shape);
    let variables = Layer {
        value,
        said: Said::Variables(names),
    };
    faults.extend(sources.flags.iter().filter_map(exposed));
    let flags = Layer::from_flags(&sources.flags, shape);
    let mut layers: Vec<Layer> = file.into_iter().chain([variables, flags]).collect();
    for layer in &mut layers {
        let broken = layer.follow_references(shape, &sources.variables);
        faults.extend(broken.into_iter().map(|(path, reason)| PlacedFault {
            origin: layer.origin(&path),
            fault: Fault::new(path.to_string(), reason),
        }));
    }
    Ok(layers)
}

impl Layer {
    fn from_file(file: &FilePath) -> Result<Self, PlacedFault> {
        let failed = |line, column, reason: String| PlacedFault {
            origin: Origin::File {
                file: file.to_owned(),
                line,
                column,
            },
            fault: Fault::new("", reason),
        };
        let text = text_of(file).map_err(|error| failed(None, None, format!("cannot be read: {error}")))?;
        let document = document::parse(&text).map_err(|bad| failed(bad.line, bad.column, bad.reason))?;
        if !document.value.is_object() {
            return Err(failed(
                None,
                None,
                "must be a mapping of sections, such as `kafka:`".to_owned(),
            ));
        }
        Ok(Self {
            value: document.value,
            said: Said::File {
                file: file.to_owned(),
                lines: document.lines,
            },
        })
    }

    fn from_flags(flags: &[(String, String)], shape: &Shape) -> Self {
        let mut value = Value::Object(serde_json::Map::new());
        for (name, text) in flags {
            let path = flag_path(name);
            environment::put(&mut value, &path, shape.at(&path).read(text));
        }
        Self {
            value,
            said: Said::Flags,
        }
    }

    /// That this is a file in which nothing is written. Whoever writes a file in place empties it first.
    pub(super) fn emptied(&self) -> Option<PlacedFault> {
        let written = self.value.as_object().is_some_and(|sections| !sections.is_empty());
        let is_emptied = !written && matches!(self.said, Said::File { .. });
        let reason = "holds nothing; to have no webhooks write `routing: { webhooks: [] }`";
        is_emptied.then(|| PlacedFault {
            origin: self.origin(&Path::default()),
            fault: Fault::new("", reason),
        })
    }

    /// Where this layer says the value at `path`, or what holds it.
    pub(crate) fn origin(&self, path: &Path) -> Origin {
        match &self.said {
            Said::File { file, lines } => Origin::File {
                file: file.clone(),
                line: nearest(lines, path).copied(),
                column: None,
            },
            Said::Variables(names) => {
                let name = first_within(names, path).or_else(|| nearest(names, path));
                name.map_or(Origin::Default, |name| Origin::Variable(name.clone()))
            }
            Said::Flags => Origin::Flag,
        }
    }

    fn follow_references(&mut self, shape: &Shape, variables: &BTreeMap<String, String>) -> Vec<(Path, String)> {
        let mut broken = Vec::new();
        visit_texts(&mut self.value, &Path::default(), &mut |path, value| {
            let text = value.as_str().unwrap_or_default();
            match follow(text, variables) {
                Ok(None) => {}
                Ok(Some(followed)) => *value = shape.at(path).read(&followed),
                Err(error) => broken.push((path.clone(), error.to_string())),
            }
        });
        broken
    }
}

fn text_of(file: &FilePath) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

/// A secret of Kafka's among the flags: they are part of the command line, which is no secret.
fn exposed((name, value): &(String, String)) -> Option<PlacedFault> {
    let property = name.strip_prefix("kafka.properties.")?;
    let refers = value.starts_with("${") && value.ends_with('}');
    (is_secret_property(property) && !refers).then(|| PlacedFault {
        origin: Origin::Flag,
        fault: Fault::new(
            name.clone(),
            "is a secret, and everybody on this machine can read the command line; name ${file:/run/secrets/x} or \
             ${env:NAME} instead",
        ),
    })
}

/// A flag's path; everything after `kafka.properties.` is one of librdkafka's names.
fn flag_path(name: &str) -> Path {
    let keys: Vec<&str> = match name.strip_prefix("kafka.properties.") {
        Some(property) => vec!["kafka", "properties", property],
        None => name.split('.').collect(),
    };
    Path(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
}

/// What a map holds for a path, or for the nearest that holds it.
fn nearest<'a, T>(map: &'a BTreeMap<Path, T>, path: &Path) -> Option<&'a T> {
    map.get(path).or_else(|| nearest(map, &path.parent()?))
}

/// What a map holds for a path, or else for the first that lies within it.
fn first_within<'a, T>(map: &'a BTreeMap<Path, T>, path: &Path) -> Option<&'a T> {
    let (first, value) = map.range(path.clone()..).next()?;
    first.0.starts_with(&path.0).then_some(value)
}

/// Calls `visit` with every text within a value.
fn visit_texts(value: &mut Value, path: &Path, visit: &mut impl FnMut(&Path, &mut Value)) {
    match value {
        Value::String(_) => visit(path, value),
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                visit_texts(item, &path.index(at), visit);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                visit_texts(entry, &path.key(key), visit);
            }
        }
        _ => {}
    }
}
