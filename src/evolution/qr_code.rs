//! What a person scans, or types on the phone, to link a WhatsApp number to an instance: read from
//! where Evolution tells it. Whoever has it can link the number, so it is a secret while it is valid.

use serde_json::Value;

use crate::exchange::Secret;

/// A QR code holds no more text, and WhatsApp's has about 240 characters.
const LONGEST_CODE: usize = 1_000;

/// WhatsApp's has eight characters.
const LONGEST_PAIRING_CODE: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QrCode {
    /// The text of the drawing, not the drawing.
    pub code: Secret,
    /// In place of the drawing; only where Evolution knows the phone's number.
    pub pairing_code: Option<Secret>,
}

impl QrCode {
    /// From `{pairingCode, code, base64}`: the answer of `connect`, and `qrcode` of
    /// `qrcode.updated`. None where no code has been made yet.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str, most: usize| {
            let text = value.get(name)?.as_str()?.trim();
            let fits = !text.is_empty() && text.len() <= most && !text.contains(char::is_control);
            fits.then(|| Secret::new(text))
        };
        Some(Self {
            code: text("code", LONGEST_CODE)?,
            pairing_code: text("pairingCode", LONGEST_PAIRING_CODE),
        })
    }
}
