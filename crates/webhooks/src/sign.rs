//! Signing secrets that postrider makes.

use aws_lc_rs::rand::fill;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_types::Secret;

/// Bytes of a secret; Standard Webhooks asks for 24 to 64.
const BYTES: usize = 32;

/// A new HMAC secret from the system's random numbers.
pub(crate) fn new_secret() -> Secret {
    let mut bytes = [0; BYTES];
    fill(&mut bytes).expect("the system has random numbers");
    Secret::new(format!("whsec_{}", STANDARD.encode(bytes)))
}
