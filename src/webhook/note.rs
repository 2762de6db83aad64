//! The bracketed line that tells a text-only model what else came with a message. What it quotes is
//! a stranger's: a note stays one line, its brackets and quotes cannot be forged, and no field is
//! longer than a line.

use serde_json::Value;

use super::fields::{self, at, text};
use crate::text;

/// Long enough for an address, too short for a speech.
const MAX_FIELD: usize = 120;

/// More than this of a list says nothing to the model.
const MAX_CONTACTS: usize = 5;
const MAX_PHONES: usize = 3;

/// Prices are in thousandths (`totalAmount1000`).
const THOUSANDTHS: i64 = 1000;

pub(super) fn image() -> String {
    "[image: I cannot see it]".to_owned()
}

pub(super) fn video(what: &str, field: &Value) -> String {
    format!("[{what}{}: I cannot see it]", length(field))
}

/// `voice` is Meta's word for `ptt`.
pub(super) fn audio(field: &Value, is_transcribed: bool) -> String {
    let is_voice = ["ptt", "voice"].into_iter().any(|key| fields::is_true(at(field, key)));
    let what = if is_voice { "voice note" } else { "audio" };
    let ending = if is_transcribed { ", transcribed" } else { ": I cannot listen to it" };
    format!("[{what}{}{ending}]", length(field))
}

/// `filename` is Meta's.
pub(super) fn document(field: &Value) -> String {
    match ["fileName", "filename", "title"].into_iter().find_map(|key| quoted(field, key)) {
        Some(name) => format!("[document \"{name}\": I cannot open it]"),
        None => "[document: I cannot open it]".to_owned(),
    }
}

/// `what` is `location` or `live location`; `latitude` and `longitude` are Meta's.
pub(super) fn location(what: &str, field: &Value) -> String {
    let coordinate = |keys: [&str; 2]| keys.into_iter().find_map(|key| decimal(at(field, key)));
    let coordinates = coordinate(["degreesLatitude", "latitude"])
        .zip(coordinate(["degreesLongitude", "longitude"]))
        .map(|(latitude, longitude)| format!("({latitude}, {longitude})"));
    let place = listed(["name", "address"].into_iter().filter_map(|key| quoted(field, key)), ", ");
    let words: Vec<_> = place.into_iter().chain(coordinates).collect();
    titled(what, &words.join(" "))
}

pub(super) fn contact(field: &Value) -> String {
    titled("contact", &name_and_phones(field))
}

pub(super) fn contacts(field: &Value) -> String {
    let contacts = at(field, "contacts").as_array().into_iter().flatten();
    let listed = listed(contacts.take(MAX_CONTACTS).map(name_and_phones), "; ");
    titled("contacts", &listed.unwrap_or_default())
}

pub(super) fn order(field: &Value) -> String {
    let items = fields::integer(at(field, "itemCount")).filter(|count| *count > 0).map(items);
    let total = price(at(field, "totalAmount1000"), field, "totalCurrencyCode");
    let words = [quoted(field, "orderTitle"), items, total];
    titled("order", &listed(words.into_iter().flatten(), ", ").unwrap_or_default())
}

pub(super) fn product(field: &Value) -> String {
    let product = at(field, "product");
    let price = price(at(product, "priceAmount1000"), product, "currencyCode");
    let words = [quoted(product, "title"), price];
    titled("product", &listed(words.into_iter().flatten(), ", ").unwrap_or_default())
}

pub(super) fn reaction(field: &Value) -> String {
    match quoted(field, "text") {
        Some(emoji) => format!("[reaction: {emoji}]"),
        None => "[reaction removed]".to_owned(),
    }
}

pub(super) fn album(field: &Value) -> String {
    let count = |key: &str, one: &str, many: &str| {
        let count = fields::integer(at(field, key)).filter(|count| *count > 0)?;
        Some(format!("{count} {}", if count == 1 { one } else { many }))
    };
    let words = [
        count("expectedImageCount", "image", "images"),
        count("expectedVideoCount", "video", "videos"),
    ];
    titled("album", &listed(words.into_iter().flatten(), ", ").unwrap_or_default())
}

pub(super) fn poll(field: &Value) -> String {
    titled("poll", &quoted(field, "name").unwrap_or_default())
}

fn titled(what: &str, details: &str) -> String {
    if details.is_empty() { format!("[{what}]") } else { format!("[{what}: {details}]") }
}

fn listed(words: impl Iterator<Item = String>, separator: &str) -> Option<String> {
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(separator))
}

/// A stranger's text as part of a note.
fn quoted(field: &Value, key: &str) -> Option<String> {
    text(field, key).map(harmless).filter(|text| !text.is_empty())
}

fn harmless(text: &str) -> String {
    let line = text::one_line(text::cut(text, 4 * MAX_FIELD));
    let line = line.replace('[', "(").replace(']', ")").replace('"', "'");
    if fields::is_longer(&line, MAX_FIELD) {
        format!("{}…", text::cut(&line, MAX_FIELD))
    } else {
        line
    }
}

fn length(field: &Value) -> String {
    match fields::integer(at(field, "seconds")) {
        Some(seconds) if seconds > 0 => format!(", {seconds} s"),
        _ => String::new(),
    }
}

/// A decimal number as it was written, or none.
fn decimal(value: &Value) -> Option<String> {
    let written = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    written.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(harmless(&written))
}

fn items(count: i64) -> String {
    if count == 1 { "1 item".to_owned() } else { format!("{count} items") }
}

fn price(amount: &Value, holder: &Value, currency: &str) -> Option<String> {
    let amount = fields::integer(amount).filter(|amount| *amount > 0)?;
    let hundredths = amount % THOUSANDTHS / 10;
    let price = format!("{}.{hundredths:02}", amount / THOUSANDTHS);
    listed([Some(price), quoted(holder, currency)].into_iter().flatten(), " ")
}

fn name_and_phones(contact: &Value) -> String {
    let phones = phones(text(contact, "vcard").unwrap_or_default());
    let words = quoted(contact, "displayName").into_iter().chain(phones);
    listed(words, ", ").unwrap_or_default()
}

/// The numbers of a vCard: lines such as `item1.TEL;waid=5511999990003:+55 11 99999-0003`.
fn phones(vcard: &str) -> Vec<String> {
    vcard
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(property, _)| is_phone_property(property))
        .map(|(_, number)| harmless(number))
        .filter(|number| !number.is_empty())
        .take(MAX_PHONES)
        .collect()
}

fn is_phone_property(property: &str) -> bool {
    let name = property.split(';').next().unwrap_or(property);
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    name.trim().eq_ignore_ascii_case("TEL")
}
