//! By what an endpoint knows who calls it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// HTTP Basic credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Holds no colon.
    pub username: String,
    /// Never shown.
    pub password: Secret,
}

/// One header of the merchant's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomHeader {
    /// A token as RFC 9110 5.6.2 has it.
    pub name: String,
    /// Never shown.
    pub value: Secret,
}

/// What an endpoint is shown that asks who calls it (mTLS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// A PEM chain, its own certificate first.
    pub certificate: String,
    /// Its private key in PEM. Never shown.
    pub key: Secret,
}
