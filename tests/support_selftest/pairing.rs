//! Proves how the fake Evolution makes and links instances.

use serde_json::{Value, json};
use support::payload::fixture;
use support::{EvolutionOptions, FakeEvolution};

use super::evolution::receiver;
use super::{LIMIT, client, post};

fn get(evolution: &FakeEvolution, path: &str, key: &str) -> (u16, Value) {
    let url = format!("{}{path}", evolution.url());
    let mut answer = client(LIMIT).get(url).header("apikey", key).call().expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a body");
    (answer.status().as_u16(), serde_json::from_str(&text).expect("JSON"))
}

fn create(evolution: &FakeEvolution, key: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/instance/create", evolution.url());
    post(&url, &[("apikey", key)], body).expect("an answer")
}

fn wanted() -> Value {
    json!({ "instanceName": "loja-demo", "integration": "WHATSAPP-BAILEYS", "qrcode": true })
}

#[test]
fn an_instance_is_made_with_the_global_key_only_and_once() {
    let evolution = FakeEvolution::start(EvolutionOptions::default());
    assert_eq!(create(&evolution, "wrong", &wanted()), (401, fixture("http/any.401.json")));
    let (status, made) = create(&evolution, evolution.global_key(), &wanted());
    assert_eq!((status, &made["instance"]["status"]), (201, &json!("created")));
    let shop = evolution.instance("loja-demo").expect("it is there");
    assert_eq!((&made["hash"], &made["qrcode"]["code"]), (&json!(shop.token()), &json!(shop.qr())));
    let taken = create(&evolution, "", &wanted());
    assert_eq!(taken, (403, fixture("http/instance.create.403.name_in_use.json")));
    assert_eq!(create(&evolution, evolution.global_key(), &json!({})).0, 400);

    let mut other = wanted();
    other["instanceName"] = "other".into();
    other["token"] = "chosen".into();
    assert_eq!(create(&evolution, evolution.global_key(), &other).1["hash"], "chosen");
    let rows =
        get(&evolution, "/instance/fetchInstances?instanceName=other", evolution.global_key());
    assert_eq!((rows.0, &rows.1[0]["token"], &rows.1[1]), (200, &json!("chosen"), &Value::Null));
    let unknown =
        get(&evolution, "/instance/fetchInstances?instanceName=no", evolution.global_key());
    assert_eq!(unknown.0, 404);
}

#[test]
fn codes_go_out_by_webhook_until_one_is_scanned() {
    let evolution = FakeEvolution::start(EvolutionOptions::default());
    create(
        &evolution,
        evolution.global_key(),
        &json!({
            "instanceName": "loja-demo", "integration": "WHATSAPP-BAILEYS",
        }),
    );
    let shop = evolution.instance("loja-demo").expect("it is there");
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(support::Webhook::to(server.url()));
    let connect = || get(&evolution, "/instance/connect/loja-demo", shop.token()).1;
    let code = connect()["code"].clone();
    assert_eq!((&connect()["code"], code.as_str()), (&code, shop.qr().as_deref()));
    shop.shows_another_qr().delivered();
    assert_ne!(connect()["code"], code);
    let newest = bodies.wait_for_one("the newest code", LIMIT, |body| {
        body["data"]["qrcode"]["code"] == json!(shop.qr())
    });
    let names =
        |value: &Value| value.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    let shape = fixture("webhooks/qrcode.updated.json");
    assert_eq!(names(&newest["data"]["qrcode"]), names(&shape["data"]["qrcode"]));
    shop.is_scanned().delivered();
    assert_eq!(connect()["instance"]["state"], "open");
}

#[test]
fn codes_run_out_with_both_events_and_connecting_begins_anew() {
    let evolution = FakeEvolution::start(EvolutionOptions::default());
    create(&evolution, evolution.global_key(), &wanted());
    let shop = evolution.instance("loja-demo").expect("it is there");
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(support::Webhook::to(server.url()));
    shop.runs_out_of_codes().delivered();
    bodies.wait_for_one("the limit", LIMIT, |body| body["data"]["statusCode"] == 500);
    bodies.wait_for_one("the end", LIMIT, |body| body["data"]["state"] == "refused");
    assert_eq!(shop.qr(), None);
    let connected = get(&evolution, "/instance/connect/loja-demo", shop.token()).1;
    assert_eq!(connected["code"].as_str(), shop.qr().as_deref());
    assert!(shop.qr().is_some());
}
