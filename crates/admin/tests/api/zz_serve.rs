use crate::house::House;
#[tokio::test]
#[ignore]
async fn serve() {
    let house = House::open().await;
    house.added("shop").await;
    std::fs::write("/tmp/st.port", house.address.to_string()).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(400)).await;
}
