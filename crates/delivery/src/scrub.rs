//! Takes a webhook's own secrets out of what its endpoint answered: an endpoint that echoes requests
//! must not carry credentials into the results topic. One pass, so that a mask is never searched
//! again and the text stays bounded.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_types::outcome::ResponseFacts;
use postrider_types::secret::MASK;
use postrider_types::webhook::{BasicAuth, Signing, Webhook};

use crate::signature::{ED25519_PREFIX, HMAC_PREFIX};

/// The shortest secret that is masked.
const MIN_SECRET: usize = 4;
/// The shortest beginning of a secret that is masked where a text was cut off.
const MIN_CUT_SECRET: usize = 4;
/// The shortest word of a header's value, or of a query, that is a secret by itself, as in `Bearer <word>`.
const MIN_WORD: usize = 8;
/// The shortest line of a private key that is masked; the last one may be shorter and says nothing alone.
const MIN_KEY_LINE: usize = 16;

/// The texts that must not be shown, longest first.
#[derive(Clone)]
pub(crate) struct Scrubber(Vec<String>);

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber({} texts)", self.0.len())
    }
}

/// The token of `authorization: Basic …`.
pub(crate) fn basic_token(auth: &BasicAuth) -> String {
    STANDARD.encode(format!("{}:{}", auth.username, auth.password.expose()))
}

impl Scrubber {
    /// Of a webhook's password, basic token, header value, signing secrets and private key, and of what its URL's query
    /// carries.
    pub(crate) fn new(webhook: &Webhook) -> Self {
        let mut texts = in_query(&webhook.url);
        if let Some(auth) = &webhook.auth {
            texts.extend([auth.password.expose().to_owned(), basic_token(auth)]);
        }
        if let Some(header) = &webhook.header {
            let value = header.value.expose();
            let words = value.split(' ').filter(|word| word.len() >= MIN_WORD);
            texts.extend(words.chain([value]).map(str::to_owned));
        }
        let key_lines = webhook.tls.iter().flat_map(|tls| tls.key.expose().lines());
        let body = key_lines.map(str::trim).filter(|line| !line.starts_with("-----"));
        texts.extend(body.filter(|line| line.len() >= MIN_KEY_LINE).map(str::to_owned));
        for secret in webhook.signing.iter().flat_map(Signing::secrets) {
            let secret = secret.expose();
            let bare = [HMAC_PREFIX, ED25519_PREFIX]
                .iter()
                .find_map(|prefix| secret.strip_prefix(prefix));
            texts.extend([secret, bare.unwrap_or_default()].map(str::to_owned));
        }
        Self::of(texts)
    }

    fn of(mut texts: Vec<String>) -> Self {
        let escaped: Vec<String> = texts.iter().map(|text| json_escaped(text)).collect();
        texts.extend(escaped);
        // What is shorter hides nothing, and masking it would shred every text.
        texts.retain(|text| text.len() >= MIN_SECRET);
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        Self(texts)
    }

    /// The text with every secret masked; neighbouring masks become one.
    pub(crate) fn scrub(&self, text: String) -> String {
        // Most texts are short and hold none: a search for each secret is sooner done than masking.
        if !self.0.iter().any(|secret| text.contains(secret.as_str())) {
            return text;
        }
        let mut shown = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(next) = rest.chars().next() {
            let secret = self.0.iter().find(|secret| rest.starts_with(secret.as_str()));
            if secret.is_none() {
                shown.push(next);
            } else if !shown.ends_with(MASK) {
                shown.push_str(MASK);
            }
            rest = &rest[secret.map_or(next.len_utf8(), String::len)..];
        }
        shown
    }

    /// What is kept of a response, with every secret masked, also one that its end cut off.
    pub(crate) fn scrub_response(&self, mut response: ResponseFacts) -> ResponseFacts {
        let whole = response.body.len();
        let kept = if response.truncated {
            self.cut_at(&response.body)
        } else {
            whole
        };
        response.body.truncate(kept);
        let mut body = self.scrub(response.body);
        if kept < whole {
            body.push_str(MASK);
        }
        // A mask can be longer than what it hides.
        let limit = body.floor_char_boundary(whole.max(MASK.len()));
        response.truncated |= limit < body.len();
        body.truncate(limit);
        response.body = body;
        response.content_type = response.content_type.map(|text| self.scrub(text));
        response
    }

    /// Where the longest beginning of a secret starts that ends the text; the text's length if none does.
    fn cut_at(&self, text: &str) -> usize {
        let beginning = |secret: &String| {
            (MIN_CUT_SECRET..secret.len())
                .rev()
                .filter(|len| secret.is_char_boundary(*len))
                .find(|len| text.ends_with(&secret[..*len]))
        };
        text.len() - self.0.iter().filter_map(beginning).max().unwrap_or(0)
    }
}

/// The values of a URL's query that are long enough to be a token, as they are sent.
fn in_query(url: &str) -> Vec<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let long = values.filter(|(_, value)| value.len() >= MIN_WORD);
    long.map(|(_, value)| value.to_owned()).collect()
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use postrider_types::webhook::{ClientCertificate, CustomHeader, Signing};
    use postrider_types::{EventType, Secret, WebhookId};
    use proptest::prelude::*;

    use super::*;

    const KEY_LINE: &str = "MC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlantedPlantedPlantedPlantedP";

    fn webhook() -> Webhook {
        let mut webhook = Webhook::new(
            WebhookId::new("wh_1").unwrap(),
            "https://merchant.example/?shop=1&token=querytoken99",
            vec![EventType::OrderShipped],
        );
        webhook.auth = Some(BasicAuth {
            username: "merchant".into(),
            password: Secret::new("hunter\"2"),
        });
        webhook.header = Some(CustomHeader {
            name: "X-Api-Key".into(),
            value: Secret::new("Token abcdefgh1234"),
        });
        webhook.signing = Some(Signing::with(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")));
        webhook.tls = Some(ClientCertificate {
            certificate: "chain".into(),
            key: Secret::new(format!(
                "-----BEGIN PRIVATE KEY-----\r\n{KEY_LINE}\r\nabc=\r\n-----END PRIVATE KEY-----\r\n"
            )),
        });
        webhook
    }

    fn response(body: &str, truncated: bool) -> ResponseFacts {
        ResponseFacts {
            content_type: Some(format!("text/plain; echo={body}")),
            body: body.to_owned(),
            truncated,
        }
    }

    #[test]
    fn an_echoed_secret_is_masked_in_every_spelling() {
        let scrubber = Scrubber::new(&webhook());
        for secret in [
            "querytoken99",
            "hunter\"2",
            r#"hunter\"2"#,
            "bWVyY2hhbnQ6aHVudGVyIjI=",
            "Token abcdefgh1234",
            "abcdefgh1234",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            KEY_LINE,
        ] {
            let scrubbed = scrubber.scrub_response(response(&format!("you sent <{secret}>, thanks"), false));
            assert_eq!(scrubbed.body, format!("you sent <{MASK}>, thanks"));
            assert!(!scrubbed.content_type.unwrap().contains(secret));
        }
        assert!(!format!("{scrubber:?}").contains("hunter"));
    }

    #[test]
    fn a_secret_cut_off_by_the_end_is_masked_too() {
        let scrubber = Scrubber::new(&webhook());
        let scrubbed = scrubber.scrub_response(response("key=whsec_MfKQ9r8GKYq", true));
        assert_eq!(scrubbed.body, format!("key={MASK}"));
        let whole = scrubber.scrub_response(response("we hunted hunt", false));
        assert_eq!(whole.body, "we hunted hunt");
    }

    #[test]
    fn a_webhook_without_secrets_changes_nothing() {
        let bare = Webhook::new(WebhookId::new("wh_1").unwrap(), "https://m.example/", Vec::new());
        let kept = response("hunter2 ********", true);
        assert_eq!(Scrubber::new(&bare).scrub_response(kept.clone()), kept);
    }

    #[test]
    fn a_secret_too_short_to_hide_leaves_texts_as_they_are() {
        let scrubber = Scrubber::of(vec!["*".into(), "app".into()]);
        let kept = response("application/json *", false);
        assert_eq!(scrubber.scrub_response(kept.clone()), kept);
    }

    proptest! {
        #[test]
        fn no_secret_survives(secret in "[a-zäß\"\\\\]{4,12}", before in "[0-9 ]{0,20}", after in "[0-9 ]{0,20}") {
            let scrubber = Scrubber::of(vec![secret.clone()]);
            let scrubbed = scrubber.scrub(format!("{before}{secret}{after}{secret}"));
            prop_assert!(!scrubbed.contains(&secret));
            prop_assert!(scrubbed.starts_with(&before));
        }

        #[test]
        fn no_text_makes_it_panic(texts in prop::collection::vec(any::<String>(), 0..4), body in any::<String>()) {
            let length = body.len();
            let scrubbed = Scrubber::of(texts).scrub_response(response(&body, true));
            prop_assert!(scrubbed.body.len() <= length.max(MASK.len()));
        }
    }
}
