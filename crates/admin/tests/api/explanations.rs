//! What is known of an order: what is asked of whoever looks, and for whom.

use postrider_admin::config::Access;
use postrider_admin::explained::Unexplained;
use postrider_types::{AccountId, Timestamp};

use crate::house::{House, secret_of, token};
use crate::wire::Ask;

const ROUTE: &str = "/api/v1/explain";

#[tokio::test]
async fn a_subject_of_any_characters_is_passed_on_with_the_accounts_of_the_token() {
    let house = House::with(vec![token("shop", Access::Read, &["shop"])]).await;
    let ask = Ask::new(
        "GET",
        &format!("{ROUTE}?subject=a%2Fb%20%26c&from=2026-11-22T10:00:00Z"),
    );
    let answer = house.send(ask.token(&secret_of("shop"))).await.expect(200);
    assert_eq!(answer.json()["subject"], "a/b &c");
    let asked = house.explainer.asked.lock().unwrap().clone();
    let [question] = &*asked else { panic!("{asked:?}") };
    assert_eq!(question.from, Some(Timestamp::from_millis(1_795_341_600_000)));
    assert!(question.sees(&AccountId::new("shop").unwrap()));
    assert!(!question.sees(&AccountId::default()));
}

#[tokio::test]
async fn a_subject_is_needed_and_has_a_bound() {
    let house = House::open().await;
    let long = format!("{ROUTE}?subject={}", "x".repeat(513));
    for (path, status) in [
        (ROUTE, 400),
        (&*format!("{ROUTE}?subject=x&from=yesterday"), 400),
        (&*format!("{ROUTE}?subject=x&until=now"), 400),
        (&*format!("{ROUTE}?subject="), 422),
        (&*long, 422),
    ] {
        house.get(path).await.expect(status);
    }
    assert_eq!(house.get(ROUTE).await.paths(), ["subject"]);
    assert!(house.explainer.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn why_there_is_no_explanation_is_said() {
    let house = House::open().await;
    for why in [
        Unexplained::Busy,
        Unexplained::Unreadable("no broker answers".to_owned()),
    ] {
        *house.explainer.refusal.lock().unwrap() = Some(why.clone());
        let answer = house.get(&format!("{ROUTE}?subject=x")).await.expect(503);
        assert_eq!(answer.json()["detail"], why.to_string());
    }
}
