//! Byte sizes as ActiveMQ configurations write them: `64mb`, `10 mb`, `1g`, `1024`.

/// Reads a size; a bare number is bytes, units are powers of 1024 and may be upper or lower case.
///
/// `None` when the text is no size or does not fit 63 bits.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let factor: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    let bytes = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (bytes <= i64::MAX as u64).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_in_any_case_with_or_without_a_blank() {
        let cases = [
            ("1024", 1024),
            ("64mb", 64 << 20),
            (" 10 MB ", 10 << 20),
            ("1g", 1 << 30),
            ("1 gb", 1 << 30),
            ("32kb", 32 << 10),
            ("5k", 5 << 10),
            ("7b", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "mb", "12 tb", "-1", "1.5gb", "99999999999999999999", "9999999999999gb"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
