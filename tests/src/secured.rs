//! A Kafka with an authorizer: whoever comes over its second listener shows a password, over TLS, whoever comes over the
//! third a certificate, and may do what ACLs say. Over the first one everything is allowed: that is the administrator's.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::binary;
use crate::broker::Broker;
use crate::scene::Scene;

/// Who may log in, with their passwords.
const USERS: [(&str, &str); 3] = [
    ("postrider", "the-password-of-postrider"),
    ("operator", "the-password-of-operator"),
    ("late", "the-password-of-late"),
];

static SHARED: OnceCell<Secured> = OnceCell::const_new();

/// The cluster.
#[derive(Debug)]
pub struct Secured {
    broker: Broker,
    address: String,
    mutual: String,
    authority: PathBuf,
    client: PathBuf,
}

impl Secured {
    /// The one that all tests of this process share; started by the first that asks.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        SHARED.get_or_try_init(Self::start).await
    }

    async fn start() -> anyhow::Result<Self> {
        let users = USERS.map(|(name, password)| format!("{name}={password}")).join(",");
        let broker = Broker::start_with(1, vec![("KAFKA_SECURED", users)]).await?;
        Ok(Self {
            address: broker.ask(&["secured"]).await?,
            mutual: broker.ask(&["mutual"]).await?,
            client: broker.ask(&["client"]).await?.into(),
            authority: broker.ask(&["authority"]).await?.into(),
            broker,
        })
    }

    /// The cluster, as its administrator has it.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The listener that asks who comes.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The file with the authority of its certificate.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// A user's password.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn password(user: &str) -> anyhow::Result<&'static str> {
        let known = USERS.iter().find(|(name, _)| *name == user);
        known.map(|(_, password)| *password).context("no such user")
    }

    /// Makes a scene's configuration that of a user, with the password in a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn admit(&self, scene: &mut Scene, user: &str) -> anyhow::Result<()> {
        let file = scene.folder().join("kafka-password");
        std::fs::write(&file, format!("{}\n", Self::password(user)?))?;
        scene.config["kafka"] = json!({ "brokers": self.address, "properties": self.properties(user) });
        scene.config["kafka"]["properties"]["sasl.password"] = json!(format!("${{file:{}}}", file.display()));
        Ok(())
    }

    /// Makes a scene's configuration that of the first user, who shows a certificate; or nothing, when none is `shown`.
    pub fn admit_by_certificate(&self, scene: &mut Scene, shown: bool) {
        let mut properties = json!({ "security.protocol": "SSL", "ssl.ca.location": self.authority });
        if shown {
            properties["ssl.certificate.location"] = json!(self.client.join("client.pem"));
            properties["ssl.key.location"] = json!(self.client.join("client.key"));
        }
        scene.config["kafka"] = json!({ "brokers": self.mutual, "properties": properties });
    }

    fn properties(&self, user: &str) -> Value {
        json!({
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "ssl.ca.location": self.authority,
        })
    }

    /// Gives a user what `postrider topics acls` says a scene needs.
    ///
    /// # Errors
    /// When postrider or Kafka's tool refuses.
    pub async fn allow(&self, scene: &Scene, user: &str, purpose: &str) -> anyhow::Result<()> {
        let path = scene.write_config()?;
        let principal = format!("User:{user}");
        let mut command = binary::command(["topics", "acls", "--principal", &principal, "--for", purpose]).await?;
        command.arg("--config").arg(path);
        let ran = binary::run_command(command).await?;
        ensure!(ran.code == Some(0), "postrider topics acls: {ran:?}");
        for line in ran.stdout.lines().filter(|line| !line.starts_with('#')) {
            let words = line
                .strip_prefix("kafka-acls.sh --bootstrap-server ")
                .context("Kafka's tool")?;
            let (brokers, words) = words.split_once(' ').context("its arguments")?;
            ensure!(scene.config["kafka"]["brokers"] == brokers, "{line}");
            self.acl(&words.split(' ').collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Changes ACLs by Kafka's own tool.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn acl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.broker.ask(&[&["acl"], arguments].concat()).await
    }
}
