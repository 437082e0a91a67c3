//! The files that a run needs beside its configuration: looked into before it starts, so that what cannot be used is
//! told with everything else.

use std::collections::BTreeMap;

use postrider_delivery::egress;
use postrider_delivery::tls::{TlsSetupError, client_config};
use postrider_types::Fault;

use super::SecretsConfig;
use super::fault::{ConfigError, Origin, PlacedFault};
use crate::secrets::{KeySource, NoKeys, VARIABLE};

/// What is wrong with the file of certificate authorities.
pub(super) fn ca_faults(egress: &egress::Config) -> Vec<Fault> {
    let ca_file = egress.ca_file.as_deref();
    let unusable = ca_file.and_then(|file| client_config(Some(file)).err());
    unusable.map(ca_fault).into_iter().collect()
}

/// Why TLS cannot be set up, seen from the section `egress`.
pub(crate) fn ca_fault(error: TlsSetupError) -> Fault {
    Fault::new("ca_file", format!("{:#}", anyhow::Error::new(error)))
}

/// Why there are no keys for stored secrets.
pub(super) fn missing_keys(secrets: &SecretsConfig, variables: &BTreeMap<String, String>) -> Option<NoKeys> {
    KeySource::new(secrets.key_file.clone(), variables).read().err()
}

impl From<NoKeys> for ConfigError {
    fn from(missing: NoKeys) -> Self {
        let (origin, fault) = match missing {
            NoKeys::File(reason) => (Origin::Default, Fault::new("secrets.key_file", reason)),
            NoKeys::Variable(reason) => (Origin::Variable(VARIABLE.to_owned()), Fault::new("", reason)),
        };
        PlacedFault { origin, fault }.into()
    }
}
