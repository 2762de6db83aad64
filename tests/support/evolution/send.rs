//! `POST /message/sendText/{instance}`: checks, the scripted behaviour, the answer and the echo.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Value, json};

use super::instance::{InstanceState, SentText};
use super::routes::error;
use super::{Echo, SendBehaviour};
use crate::http::{Answer, let_pass};
use crate::payload;

pub(super) async fn send_text(instance: Arc<InstanceState>, body: Value) -> Answer {
    if let Some(complaint) = complaint_of_schema(&body) {
        return error(400, json!([[complaint]]));
    }
    let call = instance.begin_call(text_of(&body, "number"), text_of(&body, "text"));
    let behaviour = instance.behaviour_for(&body);
    let answer = behave(Arc::clone(&instance), body, behaviour).await;
    if !answer.is_never() {
        instance.end_call(call);
    }
    answer
}

async fn behave(instance: Arc<InstanceState>, body: Value, behaviour: SendBehaviour) -> Answer {
    if let Some(refusal) = refusal_of_number_check(&behaviour, &body) {
        return refusal;
    }
    if text_of(&body, "text").trim().is_empty() {
        return error(400, json!(["Text is required"]));
    }
    let send = Send { instance, body };
    match behaviour {
        SendBehaviour::OkAs(jid) => send.take_as(jid).await,
        SendBehaviour::SlowOk(duration) => {
            let answer = send.take().await;
            let_pass(duration).await;
            answer
        }
        SendBehaviour::LateOk(duration) => {
            let_pass(duration).await;
            send.take().await
        }
        SendBehaviour::HoldThenOk(gate) => {
            gate.pass().await;
            send.take().await
        }
        SendBehaviour::TakeThenHold(gate) => {
            let answer = send.take().await;
            gate.pass().await;
            answer
        }
        SendBehaviour::TakeThenHang => {
            send.take().await;
            Answer::never()
        }
        SendBehaviour::TakeThenCut => {
            send.take().await;
            Answer::cut()
        }
        SendBehaviour::TakeThenCutMidBody => send.take().await.cut_mid_body(),
        SendBehaviour::TakeThen400(message) => {
            send.take().await;
            error(400, json!([message]))
        }
        SendBehaviour::Refuse400(message) => error(400, json!([message])),
        _ => send.take().await,
    }
}

/// The JSON schema of sendText, in the words of Evolution 2.3.6.
fn complaint_of_schema(body: &Value) -> Option<String> {
    let number = &body["number"];
    if !number.is_null() && !number.is_string() {
        return Some("Invalid format".to_owned());
    }
    let is = |field: &str, matches: fn(&Value) -> bool| body.get(field).is_none_or(matches);
    let types = [
        ("text", "string", is("text", Value::is_string)),
        ("linkPreview", "boolean", is("linkPreview", Value::is_boolean)),
        ("delay", "integer", is("delay", Value::is_u64)),
        ("quoted", "object", is("quoted", Value::is_object)),
    ];
    if let Some((field, kind, _)) = types.into_iter().find(|(_, _, fits)| !fits) {
        return Some(format!("{field} is not of a type(s) {kind}"));
    }
    let missing = ["number", "text"].into_iter().find(|field| body.get(field).is_none());
    missing.map(|field| format!("instance requires property \"{field}\""))
}

/// What ends the call before anything can have left for WhatsApp.
fn refusal_of_number_check(behaviour: &SendBehaviour, body: &Value) -> Option<Answer> {
    let number = text_of(body, "number");
    Some(match behaviour {
        SendBehaviour::Hang => Answer::never(),
        SendBehaviour::Cut => Answer::cut(),
        SendBehaviour::Status(status, body) => Answer::json(*status, body),
        SendBehaviour::RefuseNotOnWhatsapp => {
            let jid = payload::jid_of_number(number);
            error(400, json!([{ "jid": jid, "exists": false, "number": number }]))
        }
        SendBehaviour::ConnectionClosed500 => error(500, json!("Connection Closed")),
        SendBehaviour::NotLoaded500 => {
            error(500, json!("Cannot read properties of undefined (reading 'textMessage')"))
        }
        SendBehaviour::MetaError201 => Answer::json(
            201,
            &json!({
                "message": "(#131030) Recipient phone number not in allowed list",
                "type": "OAuthException",
                "code": 131030,
                "error_data": {
                    "messaging_product": "whatsapp",
                    "details": "Recipient phone number not in allowed list",
                },
                "fbtrace_id": "Afake",
            }),
        ),
        _ => return None,
    })
}

struct Send {
    instance: Arc<InstanceState>,
    body: Value,
}

impl Send {
    async fn take(&self) -> Answer {
        self.take_as(payload::jid_of_number(text_of(&self.body, "number"))).await
    }

    /// The message reaches the customer; the echo is under way when this returns.
    async fn take_as(&self, jid: String) -> Answer {
        let sent = SentText {
            id: payload::api_message_id(),
            number: text_of(&self.body, "number").to_owned(),
            remote_jid: jid,
            text: text_of(&self.body, "text").to_owned(),
            at: Utc::now(),
            link_preview: self.body["linkPreview"].as_bool(),
            body: self.body.clone(),
        };
        let line = &self.instance.line;
        let data = line.api_message(&sent.remote_jid, &sent.id, &sent.text, sent.at);
        self.instance.remember(&data);
        let echo = self.instance.echo_for(&sent);
        self.instance.sent.push(sent);
        self.echo(echo, &data).await;
        Answer::json(201, &data)
    }

    async fn echo(&self, echo: Echo, data: &Value) {
        let outgoing = self.instance.outgoing("send.message", data.clone());
        let copy = self.instance.outgoing("messages.upsert", data.clone());
        let instance = Arc::clone(&self.instance);
        match echo {
            Echo::Never => {}
            Echo::With => {
                tokio::spawn(outgoing.deliver(instance));
            }
            Echo::After(delay) => {
                tokio::spawn(async move {
                    let_pass(delay).await;
                    outgoing.deliver(instance).await;
                });
            }
            Echo::HoldUntil(gate) => {
                tokio::spawn(async move {
                    gate.pass().await;
                    outgoing.deliver(instance).await;
                });
            }
            Echo::AsUpsert => {
                tokio::spawn(copy.deliver(instance));
            }
            Echo::AsBoth => {
                tokio::spawn(outgoing.deliver(Arc::clone(&instance)));
                tokio::spawn(copy.deliver(instance));
            }
            Echo::Before => {
                if !outgoing.attempt(&instance, 1).await {
                    tokio::spawn(outgoing.retry(instance));
                }
            }
        }
    }
}

fn text_of<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_default()
}
