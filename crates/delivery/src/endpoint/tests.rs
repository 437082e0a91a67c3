//! Bad URLs of every category, and the normal form of good ones.

use proptest::prelude::*;

use super::{BadUrl, Endpoint};
use crate::address::Blocked;
use crate::egress::{Config, Policy};

fn judged(raw: &str) -> Result<String, BadUrl> {
    Endpoint::parse(raw, &Policy::default()).map(|endpoint| endpoint.as_str().to_owned())
}

fn under(config: Config, raw: &str) -> Result<String, BadUrl> {
    let policy = Policy::from_config(&config).unwrap();
    Endpoint::parse(raw, &policy).map(|endpoint| endpoint.as_str().to_owned())
}

#[test]
fn good_urls_have_one_normal_form() {
    for (raw, normal) in [
        ("https://merchant.example/hooks", "https://merchant.example/hooks"),
        ("HTTPS://Merchant.Example:443", "https://merchant.example/"),
        (
            "http://m.example.:8080/a/../b?x=1&y=%20",
            "http://m.example:8080/b?x=1&y=%20",
        ),
        ("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC"),
        ("http://8.8.8.8/", "http://8.8.8.8/"),
        ("http://0x08080808/", "http://8.8.8.8/"),
        ("https://[2606:4700::1111]:8443/x", "https://[2606:4700::1111]:8443/x"),
        ("https://a_b.m-n.example?q=@", "https://a_b.m-n.example/?q=@"),
    ] {
        assert_eq!(judged(raw).as_deref(), Ok(normal), "{raw}");
    }
}

#[test]
fn the_raw_text_is_judged_before_a_parser_repairs_it() {
    use BadUrl::{ForbiddenCharacter, Fragment, NotHttp, TooLong, Userinfo};
    let long = format!("https://m.example/{}", "a".repeat(4096));
    for (raw, why) in [
        (" https://m.example/", ForbiddenCharacter),
        ("https://m.example/\n", ForbiddenCharacter),
        ("ht\ttps://m.example/", ForbiddenCharacter),
        ("https://m.example/a b", ForbiddenCharacter),
        ("https:\\\\m.example/", ForbiddenCharacter),
        ("https://m.example\\@evil.example/", ForbiddenCharacter),
        ("https://m.exa\u{7f}mple/", ForbiddenCharacter),
        ("https://m.exa\u{85}mple/", ForbiddenCharacter),
        ("https://m.example/\u{2028}", ForbiddenCharacter),
        ("https://m.example/\u{2029}", ForbiddenCharacter),
        ("https://m.example/\u{202e}gpj", ForbiddenCharacter),
        ("https://m.\u{200b}example/", ForbiddenCharacter),
        ("https://m.example/\u{2066}", ForbiddenCharacter),
        ("https://m.exam\u{ad}ple/", ForbiddenCharacter),
        ("\u{feff}https://m.example/", ForbiddenCharacter),
        ("", NotHttp),
        ("m.example", NotHttp),
        ("//m.example/", NotHttp),
        ("ftp://m.example/", NotHttp),
        ("file:///etc/passwd", NotHttp),
        ("gopher://m.example/", NotHttp),
        ("javascript:alert(1)", NotHttp),
        ("http:m.example/", NotHttp),
        ("http:/m.example/", NotHttp),
        ("http:///m.example/", NotHttp),
        ("http://?x", NotHttp),
        ("httpss://m.example/", NotHttp),
        ("https://u:p@m.example/", Userinfo),
        ("https://u@m.example/", Userinfo),
        ("https://@m.example/", Userinfo),
        ("https://m.example#@evil.example/", Fragment),
        ("https://m.example/#", Fragment),
        (&long, TooLong),
    ] {
        assert_eq!(judged(raw), Err(why), "{raw:?}");
    }
}

#[test]
fn a_url_that_is_too_long_in_its_normal_form_is_refused() {
    let longest = format!("https://m.example/{}", "a".repeat(4_078));
    assert_eq!(judged(&longest).as_deref(), Ok(&*longest));
    let escaped = |count| judged(&format!("https://m.example/{}", "ü".repeat(count)));
    assert_eq!(escaped(679).map(|normal| normal.len()), Ok(4_092));
    assert_eq!(escaped(680), Err(BadUrl::TooLong));
}

#[test]
fn hosts_and_ports_that_cannot_be_called_are_refused() {
    use BadUrl::{Host, Invalid, Port};
    let label = format!("https://{}.example/", "a".repeat(64));
    let name = format!("https://{}example/", "abcdefgh.".repeat(30));
    for (raw, why) in [
        ("https://m.example:0/", Port),
        ("https://m.example:65536/", Port),
        ("https://m.example:99999999999/", Port),
        ("https://m.example:8x/", Invalid),
        ("https://m.example:-1/", Invalid),
        ("https://m..example/", Host),
        ("https://.m.example/", Host),
        ("https://m.example../", Host),
        ("https://m!.example/", Host),
        (&label, Host),
        (&name, Host),
        ("https://%00.example/", Invalid),
        ("https://1.2.3.4.5/", Invalid),
        ("https://300.1.1.1/", Invalid),
        ("https://[::1/", Invalid),
        ("https://[fe80::1%25eth0]/", Invalid),
        ("https://[fe80::1%eth0]/", Invalid),
        ("https://m.example:/x:y", BadUrl::Port),
    ] {
        let verdict = judged(raw);
        if raw.ends_with("x:y") {
            // An empty port is the scheme's own.
            assert_eq!(verdict.as_deref(), Ok("https://m.example/x:y"));
        } else {
            assert_eq!(verdict, Err(why), "{raw:?}");
        }
    }
}

#[test]
fn internal_names_are_blocked_in_every_spelling() {
    for raw in [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://l%6fcalhost/",
        "http://ｌocalhost/",
        "http://localhost.localdomain/",
        "http://intranet/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "http://redis.shop.svc/",
        "http://redis.shop.svc.cluster.local/",
        "http://nas.home.arpa/",
        "http://home.arpa/",
    ] {
        let verdict = judged(raw);
        assert_eq!(verdict, Err(BadUrl::Blocked(Blocked::InternalName)), "{raw}");
        assert!(verdict.unwrap_err().is_blocked());
    }
    assert!(!BadUrl::NotHttp.is_blocked());
    for public in [
        "http://notlocal/x",
        "http://mylocalhost.example/",
        "http://local.example/",
    ] {
        assert_eq!(judged(public).is_ok(), public.contains('.'), "{public}");
    }
}

#[test]
fn literal_addresses_are_blocked_in_every_spelling() {
    for (raw, why) in [
        ("http://127.0.0.1/", Blocked::Loopback),
        ("http://127.0.0.1./", Blocked::Loopback),
        ("http://127.1/", Blocked::Loopback),
        ("http://0x7f.1/", Blocked::Loopback),
        ("http://0177.0.0.1/", Blocked::Loopback),
        ("http://2130706433/", Blocked::Loopback),
        ("http://%31%32%37.0.0.1/", Blocked::Loopback),
        ("http://１２７.0.0.1/", Blocked::Loopback),
        ("http://127。0。0。1/", Blocked::Loopback),
        ("http://[::1]/", Blocked::Loopback),
        ("http://[0:0:0:0:0:0:0:1]/", Blocked::Loopback),
        ("http://0/", Blocked::Unspecified),
        ("http://2852039166/latest/meta-data/", Blocked::LinkLocal),
        ("http://169.254.169.254/", Blocked::LinkLocal),
        ("http://10.0.0.1:8080/", Blocked::Private),
        ("http://[::ffff:127.0.0.1]/", Blocked::EmbeddedIpv4),
        ("http://[::ffff:7f00:1]/", Blocked::EmbeddedIpv4),
        ("http://[64:ff9b::7f00:1]/", Blocked::EmbeddedIpv4),
        ("http://[fd00::1]/", Blocked::UniqueLocal),
        ("http://[fe80::1]/", Blocked::LinkLocal),
        ("http://168.63.129.16/", Blocked::CloudService),
        ("http://255.255.255.255/", Blocked::Broadcast),
    ] {
        assert_eq!(judged(raw), Err(BadUrl::Blocked(why)), "{raw}");
    }
}

#[test]
fn the_policy_narrows_and_widens() {
    let https_only = Config {
        https_only: true,
        ..Config::default()
    };
    assert_eq!(under(https_only, "http://m.example/"), Err(BadUrl::HttpsOnly));
    let ports = || Config {
        ports: vec![443, 8443],
        ..Config::default()
    };
    assert_eq!(under(ports(), "https://m.example:444/"), Err(BadUrl::PortNotAllowed));
    assert!(under(ports(), "https://m.example/").is_ok());
    let wide = || Config {
        allow: vec!["127.0.0.0/8".into()],
        allow_hosts: vec!["intranet".into(), "*.shop.svc".into()],
        ..Config::default()
    };
    for good in ["http://127.0.0.1:9/", "http://Intranet/", "http://a.shop.svc/"] {
        assert!(under(wide(), good).is_ok(), "{good}");
    }
    for bad in [
        "http://shop.svc/",
        "http://xshop.svc/",
        "http://a.intranet.local/",
        "http://[::ffff:127.0.0.1]/",
    ] {
        assert!(under(wide(), bad).is_err_and(|why| why.is_blocked()), "{bad}");
    }
}

#[test]
fn a_debug_line_shows_neither_path_nor_query() {
    let endpoint = Endpoint::parse("https://m.example:8443/secret-path?token=s3cret", &Policy::default()).unwrap();
    assert_eq!(format!("{endpoint:?}"), "Endpoint(https://m.example:8443)");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(raw in "\\PC{0,80}") {
        let _ = judged(&raw);
    }

    #[test]
    fn what_is_taken_is_taken_again_unchanged(raw in "https?://[a-zA-Z0-9._%\\[\\]:-]{1,30}(:[0-9]{1,6})?(/[ -~]{0,20})?") {
        if let Ok(normal) = judged(&raw) {
            prop_assert_eq!(judged(&normal), Ok(normal.clone()));
            let uri: hyper::Uri = normal.parse().unwrap();
            prop_assert!(uri.host().is_some());
        }
    }

    #[test]
    fn no_spelling_of_a_loopback_address_is_taken(last in 0u32..0x00ff_ffff, octal: bool) {
        let number = 0x7f00_0000_u32 | last;
        let raw = if octal { format!("http://0{number:o}/") } else { format!("http://0x{number:x}/") };
        prop_assert_eq!(judged(&raw), Err(BadUrl::Blocked(Blocked::Loopback)));
    }
}
