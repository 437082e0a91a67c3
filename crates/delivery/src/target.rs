//! Everything a webhook's requests have in common, prepared once: the judged URL, the fixed headers,
//! the signing key, the texts to scrub, and a client with connections of its own, which show the webhook's
//! certificate where they are asked for one.

use std::time::Duration;

use hyper::HeaderMap;
use postrider_types::{ErrorKind, Fault, Webhook};

use crate::address::Blocked;
use crate::client::{self, Client, Clients};
use crate::egress::Policy;
use crate::endpoint::{BadUrl, Endpoint};
use crate::headers::{self, BadHeader, Sending};
use crate::identity::{self, BadIdentity, Identity};
use crate::reply::{Failure, Reply, Timed};
use crate::response::Received;
use crate::scrub::Scrubber;
use crate::signature::{BadSigningSecret, Keys, SigningKey};

/// A webhook that can be called.
#[derive(Debug)]
pub struct Target {
    endpoint: Endpoint,
    headers: HeaderMap,
    keys: Keys,
    scrubber: Scrubber,
    client: Client,
    timeout: Option<Duration>,
}

/// Why a webhook cannot be called. Found when it is saved as a rule; again when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Its URL.
    #[error("the URL cannot be used")]
    Url(#[source] BadUrl),
    /// Its signing secret.
    #[error("the signing secret cannot be used")]
    Signing(#[source] BadSigningSecret),
    /// Its client certificate or the key of that.
    #[error("the client certificate cannot be used")]
    Tls(#[source] BadIdentity),
    /// Its own header.
    #[error("the webhook's header cannot be sent")]
    Header(#[source] BadHeader),
}

impl BadTarget {
    /// What the egress guard forbids, if it is that.
    #[must_use]
    pub const fn blocked(&self) -> Option<Blocked> {
        match self {
            Self::Url(why) => why.blocked(),
            Self::Signing(_) | Self::Tls(_) | Self::Header(_) => None,
        }
    }

    /// What an attempt that cannot be made meets. A URL is final; a key, a certificate or a header,
    /// which no status stands for, counts as given up on our side and is tried again: it can be mended.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Url(why) if why.is_blocked() => ErrorKind::BlockedAddress,
            Self::Url(_) => ErrorKind::BadUrl,
            Self::Signing(_) | Self::Tls(_) | Self::Header(_) => ErrorKind::Cancelled,
        };
        let message = match self {
            Self::Url(why) if why.is_blocked() => why.to_string(),
            Self::Url(why) => format!("The URL {why}"),
            Self::Signing(why) => format!("Nothing was sent: the signing secret {why}"),
            Self::Tls(why) => format!("Nothing was sent: the webhook's {} {why}", why.path()),
            Self::Header(why) => format!("Nothing was sent: the webhook's own header {why}"),
        };
        Failure { kind, message }
    }
}

impl Target {
    /// Prepares a webhook's requests.
    ///
    /// # Errors
    /// [`BadTarget`] when its URL, its signing secret, its client certificate or its header cannot be used.
    pub fn prepare(webhook: &Webhook, policy: &Policy, clients: &Clients) -> Result<Self, BadTarget> {
        let signing = webhook.signing.as_ref();
        let endpoint = Endpoint::parse(&webhook.url, policy).map_err(BadTarget::Url)?;
        let identity = Identity::for_endpoint(webhook.tls.as_ref(), &endpoint).map_err(BadTarget::Tls)?;
        Ok(Self {
            endpoint,
            headers: headers::fixed(webhook).map_err(BadTarget::Header)?,
            keys: signing
                .map(Keys::parse)
                .transpose()
                .map_err(BadTarget::Signing)?
                .unwrap_or_default(),
            scrubber: Scrubber::new(webhook),
            client: clients.client(identity.as_ref()),
            timeout: webhook.timeout_ms.map(Duration::from_millis),
        })
    }

    /// The headers of one request.
    #[must_use]
    pub fn headers(&self, sending: &Sending<'_>) -> HeaderMap {
        headers::of_request(&self.headers, &self.keys, sending)
    }

    /// The headers of one request, those that the client adds included.
    pub(crate) fn transmitted(&self, sending: &Sending<'_>) -> HeaderMap {
        let mut headers = self.headers(sending);
        client::complete(&mut headers, &self.endpoint, &sending.event.body);
        headers
    }

    /// Sends one request and waits for what comes, at most for the webhook's timeout or else
    /// `timeout`. The reply holds none of the webhook's secrets.
    pub async fn send(&self, sending: &Sending<'_>, timeout: Duration) -> Timed {
        let (headers, body) = (|| self.headers(sending), sending.event.body.clone());
        let timeout = self.timeout.unwrap_or(timeout);
        let Timed { reply, spent } = self.client.post(&self.endpoint, headers, body, timeout).await;
        Timed {
            reply: self.scrubbed(reply),
            spent,
        }
    }

    /// Sends one request and tells all that came, not scrubbed yet.
    pub(crate) async fn send_whole(
        &self,
        sending: &Sending<'_>,
        timeout: Duration,
    ) -> (Result<Received, Failure>, Duration) {
        let (headers, body) = (|| self.headers(sending), sending.event.body.clone());
        let timeout = self.timeout.unwrap_or(timeout);
        self.client.send(&self.endpoint, headers, body, timeout).await
    }

    fn scrubbed(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Answered(mut answer) => {
                answer.response = self.scrubber.scrub_response(answer.response);
                Reply::Answered(answer)
            }
            Reply::Failed(mut failure) => {
                failure.message = self.scrubber.scrub(failure.message);
                Reply::Failed(failure)
            }
        }
    }
}

/// What this crate can judge of a webhook's document: its URL, its signing secret, its client certificate.
#[must_use]
pub fn webhook_faults(webhook: &Webhook, policy: &Policy) -> Vec<Fault> {
    let endpoint = Endpoint::parse(&webhook.url, policy);
    let signing = webhook.signing.as_ref();
    let secret = signing.and_then(|signing| SigningKey::parse(&signing.secret).err());
    let url = endpoint.as_ref().err();
    let url = url.map(|why| Fault::new("url", why.to_string()));
    let secret = secret.map(|why| Fault::new("signing.secret", why.to_string()));
    let tls = webhook.tls.iter();
    let tls = tls.flat_map(|tls| identity::faults(tls, endpoint.as_ref().ok()));
    let tls = tls.map(|why| Fault::new(why.path(), why.to_string()));
    url.into_iter().chain(secret).chain(tls).collect()
}

#[cfg(test)]
mod tests {
    use postrider_types::Secret;
    use postrider_types::webhook::{ClientCertificate, Signing};

    use super::*;
    use crate::samples;

    fn signed(url: &str, secret: &str) -> Webhook {
        let mut webhook = samples::webhook("wh_1", url);
        webhook.signing = Some(Signing::with(Secret::new(secret)));
        webhook
    }

    #[test]
    fn a_webhooks_faults_name_the_url_and_the_secrets_but_not_their_text() {
        let policy = samples::policy();
        let good = signed("https://merchant.example/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(webhook_faults(&good, &policy), []);
        let mut bad = signed("ftp://merchant.example/", "whsec_hunter2");
        bad.tls = Some(ClientCertificate {
            certificate: "hunter2".into(),
            key: Secret::new("hunter2"),
        });
        let bad = webhook_faults(&bad, &policy);
        let paths: Vec<&str> = bad.iter().map(|fault| &*fault.path).collect();
        assert_eq!(paths, ["url", "signing.secret", "tls.certificate", "tls.key"]);
        assert!(!format!("{bad:?}").contains("hunter2"));
    }

    #[test]
    fn a_forbidden_host_is_blocked_and_a_wrong_url_is_bad() {
        let kind = |url: &str| {
            let error = Endpoint::parse(url, &samples::policy()).unwrap_err();
            BadTarget::Url(error).failure().kind
        };
        assert_eq!(kind("http://10.0.0.1/"), ErrorKind::BlockedAddress);
        assert_eq!(kind("http://localhost/"), ErrorKind::BlockedAddress);
        assert_eq!(kind("http://u:p@merchant.example/"), ErrorKind::BadUrl);
        assert_eq!(kind("merchant.example"), ErrorKind::BadUrl);
    }
}
