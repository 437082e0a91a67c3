//! A managed webhook as the webhooks topic holds it: its document, with every secret sealed.

use postrider_types::webhook::Signing;
use postrider_types::{Fault, Secret, Webhook};
use serde_json::{Map, Value};

use crate::keys::{Keyring, Unreadable};

/// Where a document has secrets.
pub(crate) const SECRETS: [&str; 7] = [
    "/auth/password",
    "/header/value",
    "/signing/secret",
    "/signing/previous/secret",
    "/signing/previous/previous/secret",
    "/signing/previous/previous/previous/secret",
    "/tls/key",
];
const _: () = assert!(SECRETS.len() == 4 + Signing::MOST_ROTATED_OUT);

/// Why a record of the topic is no webhook's document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadDocument {
    /// It is not the JSON of one.
    #[error("it is no webhook's document")]
    Shape(#[source] serde_json::Error),
    /// Its secret cannot be opened.
    #[error("the secret {field} cannot be read: {why}")]
    Sealed {
        /// The field.
        field: String,
        /// Why not.
        why: Unreadable,
        /// The webhook without what cannot be read.
        rest: Box<Webhook>,
    },
}

/// A webhook's document with its secrets in the clear. Never logged, stored or answered.
pub(crate) fn exposed(webhook: &Webhook) -> Value {
    let mut document = serde_json::to_value(webhook).expect("a webhook is JSON");
    for pointer in SECRETS {
        if let (Some(place), Some(secret)) = (document.pointer_mut(pointer), secret_at(webhook, pointer)) {
            *place = Value::String(secret.expose().to_owned());
        }
    }
    document
}

fn secret_at<'a>(webhook: &'a Webhook, pointer: &str) -> Option<&'a Secret> {
    match pointer {
        "/auth/password" => webhook.auth.as_ref().map(|auth| &auth.password),
        "/header/value" => webhook.header.as_ref().map(|header| &header.value),
        "/tls/key" => webhook.tls.as_ref().map(|tls| &tls.key),
        _ => webhook
            .signing
            .as_ref()?
            .secrets()
            .nth(pointer.matches("/previous").count()),
    }
}

/// The record of a webhook.
///
/// # Errors
/// The fields that hold secrets, when there is no key to seal them with.
pub(crate) fn sealed(webhook: &Webhook, keys: &Keyring) -> Result<Vec<u8>, Vec<Fault>> {
    const NO_KEY: &str = "is a secret and there is no key to store it with; give postrider one in secrets.key_file \
                          or POSTRIDER_SECRETS_KEY (`openssl rand -base64 32` makes one)";
    let mut document = serde_json::to_value(webhook).expect("a webhook is JSON");
    let mut faults = Vec::new();
    for pointer in SECRETS {
        let Some(secret) = secret_at(webhook, pointer) else {
            continue;
        };
        match keys.seal(webhook.id.as_str(), pointer, secret) {
            Some(text) => *document.pointer_mut(pointer).expect("it is there") = Value::String(text),
            None => faults.push(Fault::new(pointer[1..].replace('/', "."), NO_KEY)),
        }
    }
    if faults.is_empty() {
        Ok(document.to_string().into_bytes())
    } else {
        Err(faults)
    }
}

/// Whether a record has any secret.
pub(crate) fn has_secrets(value: &[u8]) -> bool {
    let document: Option<Value> = serde_json::from_slice(value).ok();
    document.is_some_and(|document| SECRETS.iter().any(|pointer| document.pointer(pointer).is_some()))
}

/// Whether every secret of a record is sealed with today's key.
pub(crate) fn is_current(value: &[u8], keys: &Keyring) -> bool {
    let Ok(document) = serde_json::from_slice::<Value>(value) else {
        return true;
    };
    let sealed = SECRETS.iter().filter_map(|pointer| document.pointer(pointer)?.as_str());
    sealed.into_iter().all(|text| keys.is_current(text))
}

/// The webhook of a record.
pub(crate) fn opened(value: &[u8], keys: &Keyring) -> Result<Webhook, BadDocument> {
    let mut document: Value = serde_json::from_slice(value).map_err(BadDocument::Shape)?;
    let id = document["id"].as_str().unwrap_or_default().to_owned();
    let mut unreadable = None;
    for pointer in SECRETS {
        let Some(place) = document.pointer_mut(pointer) else {
            continue;
        };
        match keys.open(&id, pointer, place.as_str().unwrap_or_default()) {
            Ok(secret) => *place = Value::String(secret.expose().to_owned()),
            Err(why) => unreadable = unreadable.or(Some((pointer, why))),
        }
    }
    let Some((pointer, why)) = unreadable else {
        return serde_json::from_value(document).map_err(BadDocument::Shape);
    };
    without_credentials(&mut document);
    Err(BadDocument::Sealed {
        field: pointer[1..].replace('/', "."),
        why,
        rest: Box::new(serde_json::from_value(document).map_err(BadDocument::Shape)?),
    })
}

fn without_credentials(document: &mut Value) {
    let fields = document.as_object_mut().map(Map::iter_mut).into_iter().flatten();
    for (_, value) in fields.filter(|(name, _)| matches!(&***name, "auth" | "header" | "signing" | "tls")) {
        *value = Value::Null;
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::EventType;
    use postrider_types::Timestamp;
    use postrider_types::webhook::{BasicAuth, ClientCertificate, CustomHeader, WebhookId};

    use super::*;

    const PLANTED: [&str; 7] = [
        "p-hunter2",
        "h-hunter2",
        "s-hunter2",
        "o-hunter2",
        "oo-hunter2",
        "ooo-hunter2",
        "k-hunter2",
    ];

    fn keys(byte: u8) -> Keyring {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Keyring::parse(&Secret::new(text)).unwrap()
    }

    fn webhook() -> Webhook {
        let id = WebhookId::new("wh_1").unwrap();
        let mut webhook = Webhook::new(id, "https://m.example/", vec![EventType::OrderError]);
        webhook.auth = Some(BasicAuth {
            username: "u".into(),
            password: Secret::new(PLANTED[0]),
        });
        webhook.header = Some(CustomHeader {
            name: "x-key".into(),
            value: Secret::new(PLANTED[1]),
        });
        let rotated = |signing: Signing, place: usize| {
            signing.rotated(Secret::new(PLANTED[place]), Timestamp::from_millis(place as i64))
        };
        let first = Signing::with(Secret::new(PLANTED[5]));
        webhook.signing = Some([4, 3, 2].into_iter().fold(first, rotated));
        webhook.tls = Some(ClientCertificate {
            certificate: "chain".into(),
            key: Secret::new(PLANTED[6]),
        });
        webhook
    }

    #[test]
    fn a_document_is_read_back_as_it_was_and_shows_no_secret() {
        let record = sealed(&webhook(), &keys(1)).unwrap();
        let text = String::from_utf8(record.clone()).unwrap();
        assert!(PLANTED.iter().all(|secret| !text.contains(secret)), "{text}");
        assert_eq!(opened(&record, &keys(1)).unwrap(), webhook());
        assert!(is_current(&record, &keys(1)) && !is_current(&record, &keys(2)));
    }

    #[test]
    fn without_a_key_secrets_are_refused_field_by_field_and_the_rest_is_not() {
        let faults = sealed(&webhook(), &Keyring::default()).unwrap_err();
        let paths: Vec<&str> = faults.iter().map(|fault| &*fault.path).collect();
        assert_eq!(
            paths,
            [
                "auth.password",
                "header.value",
                "signing.secret",
                "signing.previous.secret",
                "signing.previous.previous.secret",
                "signing.previous.previous.previous.secret",
                "tls.key"
            ]
        );
        let plain = Webhook {
            auth: None,
            header: None,
            signing: None,
            tls: None,
            ..webhook()
        };
        let record = sealed(&plain, &Keyring::default()).unwrap();
        assert_eq!(opened(&record, &Keyring::default()).unwrap(), plain);
    }

    #[test]
    fn what_cannot_be_opened_leaves_a_webhook_without_credentials() {
        let record = sealed(&webhook(), &keys(1)).unwrap();
        let Err(BadDocument::Sealed { field, rest, .. }) = opened(&record, &keys(2)) else {
            panic!("another key opens nothing");
        };
        assert_eq!(
            (&*field, &rest.auth, &rest.header, &rest.signing, &rest.tls),
            ("auth.password", &None, &None, &None, &None)
        );
        assert_eq!(rest.url, webhook().url);
        assert!(matches!(opened(b"[]", &keys(1)), Err(BadDocument::Shape(_))));
    }
}
