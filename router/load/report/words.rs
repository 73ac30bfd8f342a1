//! Numbers as people say them: three digits and a unit.

/// Seconds with the unit that fits: `850 µs`, `38 ms`, `1.5 s`, `2 min 10 s`, `4 h 05 min`, `3 d 04 h`.
pub(super) fn seconds(seconds: f64) -> String {
    let size = seconds.abs();
    if size == 0.0 {
        "0 s".to_owned()
    } else if size < 0.999_5e-3 {
        format!("{} µs", digits(seconds * 1e6))
    } else if size < 0.999_5 {
        format!("{} ms", digits(seconds * 1e3))
    } else if size < 59.95 {
        format!("{} s", digits(seconds))
    } else {
        long(size)
    }
}

/// A minute or more, with its two largest units; a second one that is nought is left out.
fn long(seconds: f64) -> String {
    // What does not fit saturates, and is no time that anything took.
    let whole = seconds.round() as u64;
    let (first, unit, second, second_unit) = match whole {
        0..3600 => (whole / 60, "min", whole % 60, "s"),
        3600..86_400 => (whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => (whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    };
    match second {
        0 => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second:02} {second_unit}"),
    }
}

/// Bytes in decimal units, as disks and lines are sold: `2.4 MB`.
pub(super) fn bytes(bytes: f64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.iter().find(|(_, scale)| bytes.abs() >= *scale * 0.999_5) {
        Some((unit, scale)) => format!("{} {unit}", digits(bytes / scale)),
        None if bytes == 0.0 => "0".to_owned(),
        None => format!("{} B", digits(bytes)),
    }
}

/// Bytes a second.
pub(super) fn bytes_per_second(rate: f64) -> String {
    match bytes(rate).as_str() {
        "0" => "0".to_owned(),
        text => format!("{text}/s"),
    }
}

/// A part of a core as a percentage, or more than one core as a number of them.
pub(super) fn cores(cores: f64) -> String {
    match cores {
        cores if cores < 0.999_5 => format!("{} % of one core", digits(cores * 100.0)),
        cores if cores < 1.005 => "1 core".to_owned(),
        cores => format!("{} cores", digits(cores)),
    }
}

/// A whole number with a comma between thousands.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// Three digits that count, without noughts at the end: `0.25`, `1.5`, `38`, `1,234`.
pub(super) fn digits(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 99.95 || size == 0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.999_5 => 2,
        _ if size >= 0.099_95 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    match text {
        "-0" | "" => "0".to_owned(),
        text => grouped(text),
    }
}

/// `1 image`, `2 images`.
pub(super) fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// The text with control characters shown, so that none of them reaches a terminal.
pub(super) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => visible.extend(character.escape_default()),
            false => visible.push(character),
        }
    }
    visible
}

/// Commas between thousands in the whole part of a number.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, whole) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut text = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_unit_that_fits() {
        let table = [
            (0.0, "0 s"),
            (0.000_85, "850 µs"),
            (0.001, "1 ms"),
            (0.038_24, "38.2 ms"),
            (0.999_9, "1 s"),
            (1.5, "1.5 s"),
            (59.99, "1 min"),
            (130.0, "2 min 10 s"),
            (14_700.0, "4 h 05 min"),
            (273_600.0, "3 d 04 h"),
        ];
        for (value, text) in table {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn bytes_are_in_decimal_units() {
        let table =
            [(0.0, "0"), (999.0, "999 B"), (999_900.0, "1 MB"), (2.417e6, "2.42 MB"), (1.234e12, "1.23 TB")];
        for (value, text) in table {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes_per_second(23e6), "23 MB/s");
    }

    #[test]
    fn numbers_have_three_digits_and_commas() {
        let table = [
            (0.0, "0"),
            (0.000_001, "0"),
            (0.012_34, "0.0123"),
            (0.25, "0.25"),
            (1.999_9, "2"),
            (38.24, "38.2"),
            (1_234.4, "1,234"),
            (-1_234.4, "-1,234"),
            (100.0, "100"),
        ];
        for (value, text) in table {
            assert_eq!(digits(value), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(cores(0.021), "2.1 % of one core");
        assert_eq!(cores(1.42), "1.42 cores");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\u{1b}[2J"), "a\\u{1b}[2J");
    }
}
