//! The tracking update that everything is measured with: the product's own example.

/// The example's bytes.
pub const BODY: &str = r#"{"tracking":"WZ116539070","date":1622671204,"message":"Shipment delivered","city":"Florence","est_delivery_date":"0","first_status_date":"1622152801","late":"0","code":6,"OrderID":"24957298","TransactionID":"48572_1","TrackingCarrier":"FedEx","MarketplaceID":"0","MarketplacePlatform":"Manual shipment","ExternalLink":"","FromAddressCompany":"John Doe srl.","ToAddressCompany":"","FromAddressCountry":"IT","ToAddressCountry":"IT"}"#;

/// What a stamped body begins with; the moment follows.
pub const STAMP: &str = r#"{"sent":""#;

/// Digits of a stamp: fixed, so that it is found without parsing.
pub const STAMP_DIGITS: usize = 20;

/// The example with a tracking number and an order of its own.
#[must_use]
pub fn tracking_update(number: u64) -> String {
    BODY.replacen("WZ116539070", &format!("WZ{number:09}"), 1).replacen(
        "24957298",
        &(24_000_000 + number).to_string(),
        1,
    )
}

/// The same, with a moment in front of everything else: nanoseconds of a clock that sender and receiver share.
#[must_use]
pub fn stamped(number: u64, nanos: u64) -> String {
    let plain = tracking_update(number);
    format!("{STAMP}{nanos:0STAMP_DIGITS$}\",{}", &plain[1..])
}

/// The moment in front of a body.
#[must_use]
pub fn stamp(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(STAMP.as_bytes())?.get(..STAMP_DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_from_the_body_that_carries_it() {
        assert_eq!(
            stamp(stamped(7, 1_234_567_890_123_456_789).as_bytes()),
            Some(1_234_567_890_123_456_789)
        );
        assert_eq!(stamp(tracking_update(7).as_bytes()), None);
    }

    #[test]
    fn stamped_and_numbered_bodies_are_still_json() {
        for body in [tracking_update(3), stamped(3, 9)] {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(value["tracking"], "WZ000000003");
            assert_eq!(value["OrderID"], "24000003");
        }
    }
}
