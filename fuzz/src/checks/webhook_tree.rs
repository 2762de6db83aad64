//! Webhooks whose shape is right, so that the bytes of an input go into what lies deep within: each byte
//! chooses a name that the reader looks for, or a value that is odd where it stands. Checked as others are.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};

use super::webhook;

type Words = LazyLock<Vec<&'static str>>;

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

const EVENTS: [&str; 16] = [
    "messages.upsert",
    "send.message",
    "messages.update",
    "messages.edited",
    "messages.delete",
    "send.message.update",
    "connection.update",
    "status.instance",
    "logout.instance",
    "qrcode.updated",
    "group-participants.update",
    "messages.set",
    "MESSAGES_UPSERT",
    "messaging-history.set",
    "call",
    "",
];

/// Of fields outside of `message`.
static NAMES: Words = LazyLock::new(|| {
    words(
        "key id remoteJid remoteJidAlt senderPn senderLid fromMe participant addressingMode
        pushName status state statusCode message messageType messageTimestamp contextInfo
        stanzaId mentionedJid keyId type timestampMs editedMessage qrcode code pairingCode
        base64 participantsData jid phoneNumber lid low high apikey API_KEY api-key
        appStateSyncKeyShare thumbnail data event instance sender $serde_json::private::Number",
    )
});

/// Of those inside of it.
static CONTENTS: Words = LazyLock::new(|| {
    words(
        "conversation extendedTextMessage text imageMessage caption videoMessage ptvMessage
        audioMessage speechToText ptt voice seconds documentMessage fileName filename title
        locationMessage liveLocationMessage degreesLatitude degreesLongitude latitude longitude
        name address contactMessage contactsArrayMessage contacts displayName vcard orderMessage
        message itemCount totalAmount1000 totalCurrencyCode orderTitle productMessage product
        priceAmount1000 currencyCode body reactionMessage encReactionMessage stickerMessage
        lottieStickerMessage albumMessage expectedImageCount expectedVideoCount
        pollUpdateMessage pollCreationMessageV3 ephemeralMessage viewOnceMessageV2
        documentWithCaptionMessage buttonsResponseMessage selectedDisplayText selectedButtonId
        templateButtonReplyMessage listResponseMessage description singleSelectReply
        selectedRowId interactiveResponseMessage nativeFlowResponseMessage paramsJson
        jpegThumbnail",
    )
});

/// As they stand in the JSON.
static TEXTS: Words = LazyLock::new(|| {
    r#"5511999990001@s.whatsapp.net
100000000000001@lid
120363000000000001@g.us
status@broadcast
0@s.whatsapp.net
@lid
a_b:12@c.us
x@hosted.lid
1@newsletter
5511999990001
+55 (11) 99999-0001
5215512345678
wamid.HBgNNTUxMTk5OTk5MDAwMRUC
wamid.
wamid.HBgA
3EB0D6BED313D4615C70C6
READ
DELETED
open
closed
REVOKE
loja
true
1761055199
-1
9223372036854775808
\u0000
\ud83d
\ud83d\ude00
\\u0000
[audio] null
[audio] oi
]\n[
\"
é😀
-23.55
1e999
NaN
BEGIN:VCARD\nitem1.TEL;waid=55:+55 11 9\nTEL:1\n
{\"id\":\"\\u0000\"}"#
        .lines()
        .collect()
});

static NUMBERS: Words = LazyLock::new(|| {
    words(
        "0 1 -1 -0 -0.0 3 500 1761055199 1761055199000 9223372036854775807 -9223372036854775808
        9223372036854775808 1e40 -1e-40 1e131072 1e-16384 1.50e3 123456789.000000001
        1e99999999999",
    )
});

/// Levels below `data`.
const DEPTH: usize = 6;

pub fn check(input: &[u8]) {
    let mut input = Unstructured::new(input);
    // Where the input ends, its choices are the first ones.
    if let Ok(text) = webhook(&mut input) {
        webhook::check_text(&text);
    }
}

fn webhook(input: &mut Unstructured<'_>) -> Result<String> {
    let event = *input.choose(&EVENTS)?;
    let mut out = format!(r#"{{"event":"{event}","instance":"loja","sender":"#);
    scalar(input, &mut out)?;
    out.push_str(r#","data":"#);
    // Most have a key, without which little else is read.
    if input.ratio(7, 8)? {
        out.push_str(r#"{"key":{"id":"#);
        scalar(input, &mut out)?;
        out.push_str(r#","remoteJid":"#);
        scalar(input, &mut out)?;
        fields(input, &mut out, &NAMES, 2)?;
        out.push_str(r#"},"message":{"conversation":null"#);
        fields(input, &mut out, &CONTENTS, DEPTH)?;
        out.push('}');
        fields(input, &mut out, &NAMES, DEPTH)?;
        out.push('}');
    } else {
        value(input, &mut out, &NAMES, DEPTH)?;
    }
    fields(input, &mut out, &NAMES, DEPTH)?;
    out.push('}');
    Ok(out)
}

/// Further ones.
fn fields(
    input: &mut Unstructured<'_>,
    out: &mut String,
    names: &[&str],
    depth: usize,
) -> Result<()> {
    while !input.is_empty() && input.ratio(3, 4)? {
        let name = *input.choose(names)?;
        out.push_str(&format!(r#","{name}":"#));
        value(input, out, names, depth)?;
    }
    Ok(())
}

fn value(
    input: &mut Unstructured<'_>,
    out: &mut String,
    names: &[&str],
    depth: usize,
) -> Result<()> {
    match input.int_in_range(0..=7)? {
        0 | 1 if depth > 0 => {
            let name = *input.choose(names)?;
            out.push_str(&format!(r#"{{"{name}":"#));
            value(input, out, names, depth - 1)?;
            fields(input, out, names, depth - 1)?;
            out.push('}');
            Ok(())
        }
        2 if depth > 0 => {
            out.push('[');
            let items = input.int_in_range(0..=3)?;
            for item in 0..items {
                out.push_str(if item > 0 { "," } else { "" });
                value(input, out, names, depth - 1)?;
            }
            out.push(']');
            Ok(())
        }
        _ => scalar(input, out),
    }
}

fn scalar(input: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
    match input.int_in_range(0..=7)? {
        0 => out.push_str(input.choose(&["null", "true", "false", "{}", "[]"])?),
        1 => out.push_str(input.choose(&NUMBERS)?),
        2 => {
            // As long as no column is.
            let (text, times) = (*input.choose(&TEXTS)?, input.int_in_range(1..=40)?);
            out.push_str(&format!(r#""{}""#, text.repeat(times)));
        }
        3 => {
            let (one, other) = (*input.choose(&TEXTS)?, *input.choose(&TEXTS)?);
            out.push_str(&format!(r#""{one}{other}""#));
        }
        4 => {
            let length = input.int_in_range(0..=12)?;
            let bytes = input.bytes(length.min(input.len()))?;
            out.push_str(&serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string());
        }
        _ => out.push_str(&format!(r#""{}""#, input.choose(&TEXTS)?)),
    }
    Ok(())
}
