//! Tests that PostgreSQL takes what the webhook's reader keeps of any JSON: its `jsonb` is the judge, to the
//! byte.
//! Each runs in one transaction that is rolled back.

// A test may unwrap: its panic is its failure.
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::ffi::CString;

    use fastrand::Rng;
    use pgrx::prelude::*;

    use crate::store::jsonb::Ready;
    use crate::webhook::{self, Jsonb};

    /// What JSON allows in a text, in parts that mean something else beside each other.
    const PARTS: [&str; 16] = [
        r"\u0000",
        r"\u0000\u0000",
        r"\ud83d",
        r"\ude00",
        r"\uD83D\uDE00",
        r"\\u0000",
        r"\\",
        r"\n\t",
        r"\u0001",
        r"\uffff",
        r#"\""#,
        r"\/",
        "\u{7f}\u{feff}",
        "é😀",
        "$serde_json::private",
        "a",
    ];

    /// Around the limits of `numeric`, and far beyond them.
    const NUMBERS: [&str; 20] = [
        "0",
        "-0",
        "-0.0",
        "0.10",
        "1E+5",
        "12345678901234567890123456789.5",
        "1e400",
        "1e131071",
        "1e131072",
        "9.9e131071",
        "-9.9e131072",
        "123e131069",
        "1e-16383",
        "1e-16384",
        "1.5e-16383",
        "0e131072",
        "0e-20000",
        "1e2147483647",
        "-1e-2147483648",
        "1e99999999999999999999",
    ];

    const NAMES: [&str; 5] = ["conversation", "apikey", "base64", "jpegThumbnail", "0"];

    fn text(rng: &mut Rng) -> String {
        let parts: String = (0..rng.usize(..5)).filter_map(|_| rng.choice(PARTS)).collect();
        format!("\"{parts}\"")
    }

    fn name(rng: &mut Rng) -> String {
        if rng.bool() { text(rng) } else { format!("\"{}\"", rng.choice(NAMES).unwrap()) }
    }

    fn value(rng: &mut Rng, depth: usize) -> String {
        match rng.u8(..if depth == 0 { 3 } else { 5 }) {
            0 => text(rng),
            1 => (*rng.choice(&NUMBERS).unwrap()).to_owned(),
            2 => (*rng.choice(&["null", "true", "false"]).unwrap()).to_owned(),
            3 => {
                let items: Vec<_> = (0..rng.usize(..4)).map(|_| value(rng, depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let fields: Vec<_> = (0..rng.usize(..5))
                    .map(|_| format!("{}:{}", name(rng), value(rng, depth - 1)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }

    #[pg_test]
    fn jsonb_takes_what_is_kept_of_any_json() {
        let mut rng = Rng::with_seed(4);
        for _ in 0..400 {
            let (odd, word, key) = (value(&mut rng, 4), text(&mut rng), name(&mut rng));
            let payload = format!(
                r#"{{"event": "messages.upsert", "instance": "loja", "odd": {odd}, {key}: 1,
                "data": {{"key": {{"id": "A", "remoteJid": "1@lid"}}, "pushName": {word},
                "message": {{"conversation": {word}}}}}}}"#
            );
            let read = webhook::read(&payload).expect(&payload);
            assert!(is_as_postgresql_writes_it(&read.raw), "{payload}");
        }
    }

    #[pg_test]
    fn jsonb_is_what_the_payload_says() {
        let many: Vec<String> = (0..70).map(|place| format!(r#""k{place}": [{place}]"#)).collect();
        let payload = format!(
            r#"{{"event": "call", "instance": "loja", "many": {{{}}}, "list": [{}], "text": "é😀\n",
            "numbers": [0, -7, 1e3, 12.50, 0.0001, 1760000000, -9223372036854775808, 1e-70, 1e300],
            "data": {{"b": null, "a": true, "": {{}}, "c": [], "d": false}}}}"#,
            many.join(","),
            vec!["[1]"; 70].join(","),
        );
        let read = webhook::read(&payload).unwrap();
        let is_same = Spi::get_one_with_args::<bool>(
            "SELECT $1 = $2::jsonb AND $1::text = $2::jsonb::text",
            &[Ready(&read.raw).into(), payload.as_str().into()],
        );
        assert_eq!(is_same.unwrap(), Some(true));
        assert!(is_as_postgresql_writes_it(&read.raw));
    }

    /// Whether PostgreSQL reads our bytes, and makes the same ones of what it reads.
    fn is_as_postgresql_writes_it(raw: &Jsonb) -> bool {
        let ours = Spi::get_one_with_args::<String>("SELECT $1::text", &[Ready(raw).into()]);
        let text = CString::new(ours.unwrap().unwrap()).unwrap();
        // SAFETY: jsonb_in takes a NUL-terminated text and returns a jsonb that is not compressed.
        let theirs = unsafe {
            let argument = pg_sys::Datum::from(text.as_ptr());
            let datum: pg_sys::Datum =
                pgrx::direct_function_call(pg_sys::jsonb_in, &[Some(argument)]).unwrap();
            pgrx::varlena_to_byte_slice(datum.cast_mut_ptr())
        };
        theirs == raw.as_bytes()
    }

    #[pg_test]
    fn jsonb_takes_the_deepest_that_is_read() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let payload = |levels| {
            let odd = nested(levels);
            format!(r#"{{"event": "call", "instance": "loja", "odd": {odd}}}"#)
        };
        let read = webhook::read(&payload(126)).expect("the depth that is read");
        assert!(is_as_postgresql_writes_it(&read.raw));
        assert_eq!(webhook::read(&payload(127)), Err(webhook::Refusal::TooDeep));
    }
}
