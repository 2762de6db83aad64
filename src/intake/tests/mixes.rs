//! Random conversations of several customers with two tenants, cut into batches anywhere.

// A test may unwrap: its panic is its failure.
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use chrono::Utc;
    use fastrand::Rng;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    use crate::intake::tests::tables::{assert_same, make_tenants};

    const MIXES: u64 = 40;
    const EVENTS: usize = 60;

    /// A customer, who writes in one way.
    struct Customer {
        instance: &'static str,
        phone: String,
        lid: String,
        style: u8,
    }

    fn customers() -> Vec<Customer> {
        let of = |number: usize| Customer {
            instance: if number.is_multiple_of(2) { "one" } else { "two" },
            phone: format!("55119999{:05}@s.whatsapp.net", 90_000 + number),
            lid: format!("{}@lid", 100_000_000_000_000_u64 + number as u64),
            style: (number % 4) as u8,
        };
        (0..8).map(of).collect()
    }

    /// One more event of this conversation; `said` are the ids that were used.
    fn event(random: &mut Rng, customers: &[Customer], said: &mut Vec<String>, now: i64) -> Value {
        let customer = random.choice(customers).unwrap();
        let number = said.len();
        let id = if number > 0 && random.u8(..6) == 0 {
            random.choice(&*said).unwrap().clone()
        } else {
            format!("3EB0{number:04}")
        };
        said.push(id.clone());
        let sent_at = now - random.i64(0..20) - if random.u8(..12) == 0 { 90_000 } else { 0 };
        let (event, data) = happening(random, customer, &id, number, sent_at);
        let instance = if random.u8(..25) == 0 { "nobody" } else { customer.instance };
        json!({"event": event, "instance": instance, "data": data,
               "sender": "5511988880000@s.whatsapp.net", "apikey": "KEY"})
    }

    fn happening(
        random: &mut Rng,
        customer: &Customer,
        id: &str,
        number: usize,
        sent_at: i64,
    ) -> (&'static str, Value) {
        let key = key_of(random, customer, id);
        let text = json!({"conversation": format!("word {number}")});
        let ours = json!({"remoteJid": customer.phone, "fromMe": true, "id": id});
        match random.u8(..30) {
            0 => ("connection.update", json!({"state": random.choice(["close", "open"]).unwrap()})),
            1 => {
                let edit =
                    json!({"key": key, "editedMessage": text, "timestampMs": sent_at * 1000});
                ("messages.edited", edit)
            }
            2 => ("messages.delete", key),
            3 | 4 => {
                let status = random.choice(["SERVER_ACK", "READ", "DELIVERY_ACK"]).unwrap();
                let jid = &customer.phone;
                let receipt =
                    json!({"keyId": id, "remoteJid": jid, "fromMe": true, "status": status});
                ("messages.update", receipt)
            }
            5 | 6 => {
                let mut typed = ours;
                typed["addressingMode"] = "pn".into();
                ("messages.upsert", message(typed, text, sent_at))
            }
            7 => ("send.message", message(ours, text, sent_at)),
            8 | 9 => {
                let group = "120363000000000001@g.us";
                let key = json!({"remoteJid": group, "fromMe": false, "id": id});
                ("messages.upsert", message(key, text, sent_at))
            }
            10 => {
                let reaction = json!({"reactionMessage": {"text": "x", "key": {"id": "A"}}});
                ("messages.upsert", message(key, reaction, sent_at))
            }
            11 => ("messages.upsert", message(key, json!({"messageContextInfo": {}}), sent_at)),
            12 => ("presence.update", json!({})),
            _ => ("messages.upsert", message(key, text, sent_at)),
        }
    }

    /// How the customer's chat is called: by the phone, with or without its 9 or its LID, or by the LID.
    fn key_of(random: &mut Rng, customer: &Customer, id: &str) -> Value {
        let with_alt = random.bool();
        match customer.style {
            0 => json!({"remoteJid": customer.phone, "fromMe": false, "id": id}),
            1 if with_alt => {
                json!({"remoteJid": customer.phone, "remoteJidAlt": customer.lid, "fromMe": false, "id": id})
            }
            1 => json!({"remoteJid": customer.phone, "fromMe": false, "id": id}),
            2 => {
                json!({"remoteJid": customer.lid, "remoteJidAlt": customer.phone, "fromMe": false, "id": id})
            }
            _ if with_alt => {
                json!({"remoteJid": customer.phone.replacen("119", "11", 1), "fromMe": false, "id": id})
            }
            _ => json!({"remoteJid": customer.phone, "fromMe": false, "id": id}),
        }
    }

    fn message(key: Value, message: Value, sent_at: i64) -> Value {
        json!({"key": key, "message": message, "messageTimestamp": sent_at, "pushName": "Ana",
               "messageType": "conversation", "status": "DELIVERY_ACK"})
    }

    fn play(seed: u64) {
        let mut random = Rng::with_seed(seed);
        let now = Utc::now();
        let customers = customers();
        let mut said = Vec::new();
        let events: Vec<Value> = (0..EVENTS)
            .map(|_| event(&mut random, &customers, &mut said, now.timestamp()))
            .collect();
        let mut ends: Vec<usize> = (0..random.usize(..6)).map(|_| random.usize(..EVENTS)).collect();
        ends.sort_unstable();
        assert_same(&events, &ends, now);
        Spi::run("DELETE FROM whaply.tenants").unwrap();
    }

    #[pg_test]
    fn a_batch_of_anything_leaves_what_its_events_leave_alone() {
        for seed in 0..MIXES {
            make_tenants(&[]);
            play(seed);
        }
    }

    #[pg_test]
    fn the_settings_of_a_tenant_mean_the_same_for_a_batch() {
        for (seed, settings) in [
            [("mode", "'off'"), ("debounce", "'0'")],
            [("mode", "'test'"), ("test_chats", "'{5511999990002}'")],
            [("groups", "true"), ("connection_state", "'close'")],
            [("on_other_sender", "'ignore'"), ("debounce_max", "'1 second'")],
        ]
        .iter()
        .enumerate()
        {
            make_tenants(settings);
            play(1_000 + seed as u64);
        }
    }
}
