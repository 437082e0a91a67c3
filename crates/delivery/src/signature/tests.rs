use proptest::prelude::*;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// The first test vector of RFC 8032 7.1: seed and public key.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5,
    0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fn key(text: &str) -> Result<SigningKey, BadSigningSecret> {
    SigningKey::parse(&Secret::new(text))
}

fn hmac_secret(bytes: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(bytes))
}

fn ed25519_secret() -> String {
    format!("whsk_{}", STANDARD.encode([SEED, PUBLIC].concat()))
}

fn is_verified(secret: &str, header: &str) -> bool {
    verify(&Secret::new(secret), ID, TIMESTAMP, BODY, header)
}

#[test]
fn the_reference_vector_is_signed_as_published() {
    let signature = key(SECRET).unwrap().sign(ID, TIMESTAMP, BODY);
    assert_eq!(signature, SIGNATURE);
    assert!(is_verified(SECRET, SIGNATURE));
}

#[test]
fn a_changed_id_timestamp_body_secret_or_signature_is_refused() {
    let secret = Secret::new(SECRET);
    assert!(!verify(&secret, "msg_x", TIMESTAMP, BODY, SIGNATURE));
    assert!(!verify(&secret, ID, TIMESTAMP + 1, BODY, SIGNATURE));
    assert!(!verify(&secret, ID, TIMESTAMP, b"{}", SIGNATURE));
    assert!(!is_verified(&hmac_secret(&[7; 24]), SIGNATURE));
    for header in [
        "",
        "v1,",
        "v1",
        &SIGNATURE[3..],
        &SIGNATURE.replace("v1,", "v1a,"),
        &SIGNATURE[..40],
    ] {
        assert!(!is_verified(SECRET, header), "{header}");
    }
}

#[test]
fn one_good_signature_among_several_suffices() {
    let both = format!("v2,AAAA v1,{} {SIGNATURE}", STANDARD.encode([0; 32]));
    assert!(is_verified(SECRET, &both));
}

#[test]
fn ed25519_signs_what_its_public_key_verifies() {
    let signature = key(&ed25519_secret()).unwrap().sign(ID, TIMESTAMP, BODY);
    let header = signature.to_str().unwrap();
    assert!(header.starts_with("v1a,"));
    assert!(is_verified(&ed25519_secret(), header));
    assert!(is_verified(&format!("whpk_{}", STANDARD.encode(PUBLIC)), header));
    assert!(!is_verified(&format!("whpk_{}", STANDARD.encode(SEED)), header));
    let from_seed = key(&format!("whsk_{}", STANDARD.encode(SEED))).unwrap();
    assert_eq!(from_seed.sign(ID, TIMESTAMP, BODY), signature);
}

#[test]
fn secrets_are_read_strictly() {
    let length = |n: usize| key(&hmac_secret(&vec![1; n])).map(|_| ());
    assert_eq!(length(23), Err(BadSigningSecret::HmacLength));
    assert_eq!(length(24), Ok(()));
    assert_eq!(length(64), Ok(()));
    assert_eq!(length(65), Err(BadSigningSecret::HmacLength));
    let body = &SECRET[6..];
    for (text, why) in [
        (String::new(), BadSigningSecret::Prefix),
        (body.to_owned(), BadSigningSecret::Prefix),
        (format!("WHSEC_{body}"), BadSigningSecret::Prefix),
        (format!(" {SECRET}"), BadSigningSecret::Prefix),
        (format!("{SECRET} "), BadSigningSecret::Base64),
        (format!("{SECRET}\n"), BadSigningSecret::Base64),
        (hmac_secret(&[1; 25]).replace('=', ""), BadSigningSecret::Base64),
        (hmac_secret(&[0xff; 30]).replace('/', "_"), BadSigningSecret::Base64),
        (
            format!("whsk_{}", STANDARD.encode([1; 31])),
            BadSigningSecret::Ed25519Key,
        ),
        (
            format!("whsk_{}", STANDARD.encode([SEED, SEED].concat())),
            BadSigningSecret::Ed25519Key,
        ),
    ] {
        assert_eq!(key(&text).map(|_| ()), Err(why), "{text}");
    }
}

#[test]
fn a_key_never_shows_itself() {
    assert_eq!(format!("{:?}", key(SECRET).unwrap()), "SigningKey(v1)");
    assert_eq!(format!("{:?}", key(&ed25519_secret()).unwrap()), "SigningKey(v1a)");
}

#[test]
fn the_message_id_is_the_documented_hash() {
    let id = |event, webhook| webhook_message_id(&EventId::new(event).unwrap(), &WebhookId::new(webhook).unwrap());
    // printf 'evt-1\0wh_1' | sha256sum
    assert_eq!(id("evt-1", "wh_1"), "msg_538261eac12c08aa734ad81a6713d7bb");
    assert_ne!(id("evt-1w", "h_1"), id("evt-1", "wh_1"));
}

proptest! {
    #[test]
    fn agrees_with_the_reference_library(
        secret in prop::collection::vec(any::<u8>(), 24..=64),
        id in "msg_[0-9a-f]{32}",
        timestamp in 0..4_000_000_000_i64,
        body in any::<String>(),
    ) {
        let text = hmac_secret(&secret);
        let theirs = standardwebhooks::Webhook::new(&text).unwrap().sign(&id, timestamp, body.as_bytes()).unwrap();
        let ours = key(&text).unwrap().sign(&id, timestamp, body.as_bytes());
        prop_assert_eq!(ours.to_str().unwrap(), &theirs);
        prop_assert!(verify(&Secret::new(text), &id, timestamp, body.as_bytes(), &theirs));
    }

    #[test]
    fn no_secret_and_no_header_make_it_panic(secret in any::<String>(), rest in any::<String>(), header in any::<String>()) {
        for secret in [secret, format!("whsec_{rest}"), format!("whsk_{rest}"), format!("whpk_{rest}")] {
            prop_assert!(!is_verified(&secret, &header));
        }
    }
}
