//! The language by example, and its laws.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parsed(filter: &Value) -> Filter {
    Filter::parse(filter).unwrap_or_else(|faults| panic!("{filter}: {faults:?}"))
}

fn holds(filter: &Value, payload: &Value) -> bool {
    parsed(filter).matches(payload)
}

fn paths(filter: &Value) -> Vec<String> {
    let faults = Filter::parse(filter).expect_err("has a fault");
    faults.into_iter().map(|fault| fault.path).collect()
}

fn tracking() -> Value {
    json!({"tracking": "WZ116539070", "date": 1_622_671_204, "city": "Florence", "est_delivery_date": "0", "late": "0",
        "code": 6, "OrderID": "24957298", "TrackingCarrier": "FedEx", "ToAddressCountry": "IT", "ExternalLink": null,
        "weight": 1.5, "parcel": {"size": {"h": 10}}, "tags": ["a"]})
}

#[test]
fn every_condition_holds_and_fails_where_it_should() {
    let (yes, no) = (true, false);
    let cases = [
        (json!({}), yes),
        (json!({"TrackingCarrier": ["FedEx", "UPS"]}), yes),
        (json!({"TrackingCarrier": "FedEx"}), yes),
        (json!({"TrackingCarrier": ["fedex"]}), no),
        (json!({"code": {"gte": 5, "lt": 9}}), yes),
        (json!({"code": {"gte": 5, "lt": 6}}), no),
        (json!({"code": {"gt": 6}}), no),
        (json!({"code": {"gt": 5.5}}), yes),
        (json!({"code": {"lte": 6}}), yes),
        (json!({"code": {"lte": "6"}}), yes),
        (json!({"code": {"lt": "6.0"}}), no),
        (json!({"late": {"lt": 1}}), yes),
        (json!({"city": {"lt": 1}}), no),
        (json!({"city": {"gte": 0}}), no),
        (json!({"code": 6.0}), yes),
        (json!({"code": "6"}), no),
        (json!({"late": 0}), no),
        (json!({"late": [0, "0"]}), yes),
        (json!({"ToAddressCountry": {"not": ["IT"]}}), no),
        (json!({"ToAddressCountry": {"not": "FR"}}), yes),
        (json!({"code": {"not": ["6"]}}), yes),
        (json!({"code": {"not": 6.0}}), no),
        (json!({"OrderID": {"prefix": "24"}}), yes),
        (json!({"OrderID": {"prefix": "42"}}), no),
        (json!({"OrderID": {"suffix": "98"}}), yes),
        (json!({"OrderID": {"contains": "9572"}}), yes),
        (json!({"OrderID": {"contains": "", "suffix": "x"}}), no),
        (json!({"date": {"prefix": "16226"}}), yes),
        (json!({"weight": {"prefix": "1"}}), no),
        (json!({"ExternalLink": {"prefix": ""}}), no),
        (json!({"tags": "a"}), no),
        (json!({"tags": {"not": "a"}}), yes),
        (json!({"parcel.size.h": 10}), yes),
        (json!({"parcel.size": {"exists": true}}), yes),
        (json!({"parcel.size.w": {"exists": false}}), yes),
        (json!({"any": [{"code": 7}, {"late": "0"}]}), yes),
        (json!({"any": [{"code": 7}, {"late": "1"}]}), no),
        (json!({"all": [{"code": 6}, {"late": "0"}]}), yes),
        (json!({"all": [{"code": 6}, {"late": "1"}]}), no),
        (
            json!({"code": 6, "any": [{"all": [{"late": "1"}]}, {"city": "Florence"}]}),
            yes,
        ),
        (json!({"code": 7, "any": [{"city": "Florence"}]}), no),
    ];
    for (filter, expected) in cases {
        assert_eq!(holds(&filter, &tracking()), expected, "{filter}");
    }
}

#[test]
fn of_a_missing_field_only_not_and_exists_false_hold() {
    for filter in [
        json!({"gone": {"not": ["x"]}}),
        json!({"gone": {"not": null}}),
        json!({"gone": {"exists": false}}),
    ] {
        assert!(holds(&filter, &tracking()), "{filter}");
    }
    let conditions = [
        json!("x"),
        json!(null),
        json!([null, 0, false, ""]),
        json!({"gt": 0}),
        json!({"gte": 0}),
        json!({"lt": 0}),
        json!({"lte": 0}),
        json!({"prefix": ""}),
        json!({"suffix": ""}),
        json!({"contains": ""}),
        json!({"exists": true}),
    ];
    for condition in conditions {
        assert!(!holds(&json!({"gone": condition}), &tracking()), "{condition}");
    }
}

#[test]
fn a_null_field_is_present_and_equals_null() {
    for (condition, expected) in [
        (json!({"exists": true}), true),
        (json!({"exists": false}), false),
        (json!(null), true),
        (json!({"not": null}), false),
        (json!({"not": [""]}), true),
        (json!([false, 0, ""]), false),
        (json!({"gte": 0}), false),
    ] {
        assert_eq!(
            holds(&json!({"ExternalLink": condition}), &tracking()),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn identifiers_match_alike_as_texts_and_as_integers_where_texts_are_compared() {
    for payload in [json!({"OrderID": "24957298"}), json!({"OrderID": 24_957_298})] {
        for filter in [
            json!({"OrderID": {"prefix": "2495"}}),
            json!({"OrderID": {"suffix": "298"}}),
            json!({"OrderID": {"contains": "957"}}),
            json!({"OrderID": {"gte": "24957298", "lte": 24_957_298}}),
        ] {
            assert!(holds(&filter, &payload), "{filter} {payload}");
        }
    }
    assert!(holds(&json!({"n": {"prefix": "-1"}}), &json!({"n": -12})));
}

#[test]
fn every_fault_is_named_by_its_path() {
    let filter = json!({
        "any": [{"city": "x"}, {"code": {"gte": "five", "lt": true}}, 5, {}],
        "all": {"city": "x"},
        "code": {},
        "late": [],
        "city": {"prefix": 1, "suffix": null, "contains": ["a"], "exists": "yes", "not": [[1]], "like": "x"},
        "tags": [{"a": 1}, "b"],
        "parcel": {"not": {}},
        "": 1,
    });
    let mut found = paths(&filter);
    found.sort();
    let mut expected = [
        "any[1].code.gte",
        "any[1].code.lt",
        "any[2]",
        "any[3]",
        "all",
        "code",
        "late",
        "city.prefix",
        "city.suffix",
        "city.contains",
        "city.exists",
        "city.not[0]",
        "city.like",
        "tags[0]",
        "parcel.not",
        "",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    for other in [json!(null), json!([]), json!("x"), json!(1), json!(true)] {
        assert_eq!(paths(&other), [""], "{other}");
    }
    for empty in [json!({"any": []}), json!({"all": []})] {
        assert_eq!(paths(&empty).len(), 1, "{empty}");
    }
}

#[test]
fn a_fault_says_what_would_be_right() {
    let faults = Filter::parse(&json!({"code": {"above": 5}})).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "code.above: is no operator; one of gt, gte, lt, lte, not, prefix, suffix, contains, exists"
    );
}

#[test]
fn keys_are_shown_short_and_escaped() {
    let key = format!("\u{1b}[31m{}", "x".repeat(100));
    let path = &paths(&json!({key: {}}))[0];
    assert!(path.starts_with("\\u{1b}[31mxxx") && path.ends_with("x…"), "{path}");
}

#[test]
fn a_fraction_of_many_digits_stays_itself_when_the_filter_is_kept() {
    let text = r#"{"weight":9.334600595549807}"#;
    let filter: Value = serde_json::from_str(text).unwrap();
    assert_eq!(filter.to_string(), text);
    assert!(holds(&json!({"weight": 9.334600595549807}), &filter));
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({"code": 6}), |inner, _| json!({"any": [inner]}))
}

#[test]
fn depth_is_bounded() {
    assert!(holds(&nested(MAX_DEPTH), &tracking()));
    let found = paths(&nested(MAX_DEPTH + 1));
    assert_eq!(found, [["any[0]"; MAX_DEPTH].join(".")]);
    assert_eq!(paths(&nested(100)), found);
}

#[test]
fn conditions_are_bounded_on_all_levels_together() {
    let fields = |n: usize| {
        (0..n)
            .map(|i| (format!("f{i}"), json!({"not": "x"})))
            .collect::<serde_json::Map<_, _>>()
    };
    assert!(Filter::parse(&json!({"any": [fields(MAX_CONDITIONS / 2), fields(MAX_CONDITIONS / 2)]})).is_ok());
    let over = json!({"code": 6, "any": [fields(MAX_CONDITIONS / 2), fields(MAX_CONDITIONS / 2)]});
    let faults = Filter::parse(&over).unwrap_err();
    assert_eq!(faults, [Fault::new("", "has more than 256 conditions")]);
    let operators = json!({"n": {"gt": 0, "lt": 9}});
    assert!(Filter::parse(&json!({"all": vec![operators.clone(); MAX_CONDITIONS / 2]})).is_ok());
    assert!(Filter::parse(&json!({"all": vec![operators; MAX_CONDITIONS / 2 + 1]})).is_err());
}

#[test]
fn values_and_faults_are_bounded() {
    let values = |n: usize| (0..n).collect::<Vec<_>>();
    assert!(Filter::parse(&json!({"a": values(MAX_VALUES)})).is_ok());
    assert_eq!(paths(&json!({"a": values(MAX_VALUES), "b": {"not": [1]}})), ["b.not"]);
    assert_eq!(paths(&json!({"a": vec![json!({}); MAX_VALUES]})).len(), MAX_FAULTS);
}

#[test]
fn a_miss_names_the_condition_and_what_was_found() {
    let cases = [
        (json!({"code": {"gte": 7}}), "code must be at least 7, but is 6"),
        (json!({"code": "6"}), r#"code must be "6", but is 6"#),
        (
            json!({"late": {"gt": 0.5}}),
            r#"late must be greater than 0.5, but is "0""#,
        ),
        (
            json!({"city": ["Rome", "Pisa"]}),
            r#"city must be one of "Rome", "Pisa", but is "Florence""#,
        ),
        (
            json!({"ToAddressCountry": {"not": "IT"}}),
            r#"ToAddressCountry must not be "IT", but is "IT""#,
        ),
        (
            json!({"OrderID": {"prefix": "9"}}),
            r#"OrderID must start with "9", but is "24957298""#,
        ),
        (json!({"gone": {"exists": true}}), "gone must be present, but is absent"),
        (
            json!({"ExternalLink": {"exists": false}}),
            "ExternalLink must be absent, but is null",
        ),
        (json!({"parcel.size": 1}), "parcel.size must be 1, but is an object"),
        (json!({"tags": "a"}), r#"tags must be "a", but is a list"#),
        (
            json!({"code": [1, 2, 3, 4, 5, 7, 8]}),
            "code must be one of 1, 2, 3, 4, 5 and 2 more, but is 6",
        ),
        (
            json!({"all": [{"code": 6}, {"late": "1"}]}),
            r#"all[1].late must be "1", but is "0""#,
        ),
        (
            json!({"any": [{"code": 1}, {"code": 2}, {"code": 3}, {"code": 4}]}),
            "any matches in no way: any[0].code must be 1, but is 6; any[1].code must be 2, but is 6; any[2].code must be 3, but is 6; and 1 more",
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(parsed(&filter).first_miss(&tracking()).as_deref(), Some(expected));
    }
    assert_eq!(parsed(&json!({"code": 6})).first_miss(&tracking()), None);
}

#[test]
fn a_miss_is_cut_short_and_escaped() {
    let payload = json!({"city": format!("\u{7}{}", "é".repeat(10_000))});
    let wide = json!({"any": vec![json!({"city": vec!["ü".repeat(1_000); 9]}); 9]});
    let miss = parsed(&wide).first_miss(&payload).unwrap();
    assert_eq!(miss.chars().count(), SHOWN_MISS + 1);
    let miss = parsed(&json!({"city": "Rome"})).first_miss(&payload).unwrap();
    assert!(
        miss.contains(r#"but is "\u{7}éé"#) && miss.chars().count() < 120,
        "{miss}"
    );
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..9).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "a", "ab", "6", "6.0", "-1", "IT"]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let words = [
        "a", "b", "a.b", "b.a", "any", "all", "gt", "gte", "lt", "lte", "not", "prefix", "suffix", "contains", "exists",
    ];
    prop_oneof![9 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Arbitrary JSON, made of words that filters use.
fn document() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 60, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![(-3_i64..9).prop_map(Value::from), Just(json!("6")), Just(json!(5.5))];
    let text = || prop::sample::select(vec!["", "a", "6", "-"]).prop_map(Value::from);
    let operator = prop_oneof![
        (prop::sample::select(vec!["gt", "gte", "lt", "lte"]), number()),
        (prop::sample::select(vec!["prefix", "suffix", "contains"]), text()),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
        (Just("not"), prop::collection::vec(scalar(), 1..3).prop_map(Value::from)),
    ];
    prop_oneof![
        scalar(),
        prop::collection::vec(scalar(), 1..3).prop_map(Value::from),
        prop::collection::vec(operator, 1..3)
            .prop_map(|operators| operators.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
    ]
}

/// A filter that parses and is not empty.
fn valid() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec!["a", "b", "a.b", "b.a.b"]);
    let flat = prop::collection::btree_map(field, condition(), 1..3)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()));
    flat.prop_recursive(3, 20, 3, |inner| {
        (
            prop::sample::select(vec!["any", "all"]),
            prop::collection::vec(inner, 1..3),
        )
            .prop_map(|(group, filters)| json!({group: filters}))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_panics_whatever_the_filter_and_the_payload(filter in document(), payload in document()) {
        match Filter::parse(&filter) {
            Ok(filter) => prop_assert_eq!(filter.first_miss(&payload).is_none(), filter.matches(&payload)),
            Err(faults) => prop_assert!(!faults.is_empty() && faults.len() <= MAX_FAULTS),
        }
    }

    #[test]
    fn there_is_a_miss_exactly_when_there_is_no_match(filter in valid(), payload in document()) {
        let filter = parsed(&filter);
        prop_assert_eq!(filter.first_miss(&payload).is_none(), filter.matches(&payload));
    }

    #[test]
    fn a_filter_that_was_kept_is_the_same(filter in valid()) {
        let kept: Value = serde_json::from_str(&filter.to_string()).unwrap();
        prop_assert_eq!(parsed(&kept), parsed(&filter));
    }

    #[test]
    fn any_is_or_and_all_is_and(filters in prop::collection::vec(valid(), 1..4), payload in document()) {
        let each: Vec<bool> = filters.iter().map(|filter| holds(filter, &payload)).collect();
        prop_assert_eq!(holds(&json!({"any": filters.clone()}), &payload), each.contains(&true));
        prop_assert_eq!(holds(&json!({"all": filters}), &payload), !each.contains(&false));
    }

    #[test]
    fn not_is_the_opposite_of_any_of(values in prop::collection::vec(scalar(), 1..4), payload in document()) {
        let any_of = holds(&json!({"a": values.clone()}), &payload);
        prop_assert_eq!(holds(&json!({"a": {"not": values}}), &payload), !any_of);
    }

    #[test]
    fn operators_of_one_object_hold_together(
        a in condition().prop_filter("an object", Value::is_object), b in condition().prop_filter("an object", Value::is_object), payload in document(),
    ) {
        let mut both = a.as_object().unwrap().clone();
        prop_assume!(!b.as_object().unwrap().keys().any(|name| both.contains_key(name)));
        both.extend(b.as_object().unwrap().clone());
        let expected = holds(&json!({"a": a}), &payload) && holds(&json!({"a": b}), &payload);
        prop_assert_eq!(holds(&json!({"a": both}), &payload), expected);
    }

    #[test]
    fn comparisons_agree_with_the_order_of_integers(a in any::<i64>(), near in -1_i64..=1, text: bool) {
        let b = a.saturating_add(near);
        let payload = if text { json!({"a": a.to_string()}) } else { json!({"a": a}) };
        for (operator, expected) in [("gt", a > b), ("gte", a >= b), ("lt", a < b), ("lte", a <= b)] {
            prop_assert_eq!(holds(&json!({"a": {operator: b}}), &payload), expected);
            prop_assert_eq!(holds(&json!({"a": {operator: b.to_string()}}), &payload), expected);
        }
    }
}
