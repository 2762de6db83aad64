//! Phone numbers: from any writing to digits, and the countries where WhatsApp knows one phone
//! under two numbers. Never guesses a country code.

/// E.164 allows 15 digits; no country has mobile numbers under 7 with its code.
const PHONE_LENGTHS: std::ops::RangeInclusive<usize> = 7..=15;

/// Old groups are `<number of the founder>-<unix time>`, both of ten digits or more.
const MIN_GROUP_PART: usize = 10;

/// New groups are one number of 18 digits or more, longer than any phone (Evolution API 2.3.6,
/// createJid).
const MIN_GROUP_DIGITS: usize = 18;

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_phone(digits: &str) -> bool {
    is_digits(digits) && PHONE_LENGTHS.contains(&digits.len()) && !digits.starts_with('0')
}

/// Whether bare `text` is the number of a group.
pub(super) fn is_group_number(text: &str) -> bool {
    match text.split_once('-') {
        Some((founder, time)) => {
            [founder, time].iter().all(|part| is_digits(part) && part.len() >= MIN_GROUP_PART)
        }
        None => is_digits(text) && text.len() >= MIN_GROUP_DIGITS,
    }
}

/// The digits of an international phone number in any writing: signs and blanks go (copied
/// contacts bring invisible ones), and so does the prefix `00`. None if letters are in it.
pub(super) fn digits_of(text: &str) -> Option<String> {
    if text.chars().any(|c| c.is_alphanumeric() && !c.is_ascii_digit()) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.strip_prefix("00").unwrap_or(&digits);
    is_phone(digits).then(|| digits.to_owned())
}

/// The second number under which WhatsApp may know the phone `number`.
pub(super) fn other_writing(number: &str) -> Option<String> {
    if !is_digits(number) {
        return None;
    }
    let (country, national) = number.split_at_checked(2)?;
    match (country, national.len()) {
        ("55", 10 | 11) => {
            let (area, local) = national.split_at_checked(2)?;
            brazilian_local(local).map(|local| format!("55{area}{local}"))
        }
        ("52", 10) => Some(format!("521{national}")),
        ("52", 11) => national.strip_prefix('1').map(|national| format!("52{national}")),
        ("54", 10) => Some(format!("549{national}")),
        ("54", 11) => national.strip_prefix('9').map(|national| format!("54{national}")),
        _ => None,
    }
}

/// Brazil put a 9 before its mobile numbers; accounts older than that keep eight digits.
fn brazilian_local(local: &str) -> Option<String> {
    // Eight digits that begin with 2 to 5 are a landline, which never got the 9.
    let is_mobile = |eight: &str| matches!(eight.as_bytes().first(), Some(b'6'..=b'9'));
    if local.len() == 8 {
        return is_mobile(local).then(|| format!("9{local}"));
    }
    local.strip_prefix('9').filter(|eight| is_mobile(eight)).map(str::to_owned)
}
