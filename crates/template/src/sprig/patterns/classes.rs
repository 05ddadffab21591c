//! The classes that Go's patterns know by name, and how they are written for the engines: ASCII's as ranges, so that
//! none of them lies within another (the small engine has no such thing), Unicode's by name.

use std::fmt::Write as _;

/// Ranges of ASCII.
pub(super) type Ranges = &'static [(u8, u8)];

const DIGITS: Ranges = &[(b'0', b'9')];
const SPACES: Ranges = &[(b'\t', b'\n'), (0x0C, b'\r'), (b' ', b' ')];
const WORDS: Ranges = &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')];

/// The class behind a backslash, and whether it is all that is not in it.
pub(super) fn perl(letter: char) -> Option<(Ranges, bool)> {
    let ranges = match letter.to_ascii_lowercase() {
        'd' => DIGITS,
        's' => SPACES,
        'w' => WORDS,
        _ => return None,
    };
    Some((ranges, letter.is_ascii_uppercase()))
}

/// The class between `[:` and `:]`.
pub(super) fn posix(name: &str) -> Option<Ranges> {
    Some(match name {
        "alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        "alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        "ascii" => &[(0, 0x7F)],
        "blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        "cntrl" => &[(0, 0x1F), (0x7F, 0x7F)],
        "digit" => DIGITS,
        "graph" => &[(b'!', b'~')],
        "lower" => &[(b'a', b'z')],
        "print" => &[(b' ', b'~')],
        "punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        "space" => &[(b'\t', b'\r'), (b' ', b' ')],
        "upper" => &[(b'A', b'Z')],
        "word" => WORDS,
        "xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    })
}

/// Writes a class of ASCII as members of a class.
pub(super) fn write_ranges(out: &mut String, ranges: Ranges, negated: bool, fold: bool) {
    let mut all: Vec<(u32, u32)> = ranges
        .iter()
        .map(|(low, high)| (u32::from(*low), u32::from(*high)))
        .collect();
    if fold && negated {
        // What is folded is folded before it is turned round: two letters beyond ASCII go with `s` and `k`.
        let takes = |c: char| {
            all.iter()
                .any(|(low, high)| (*low..=*high).contains(&u32::from(c)))
        };
        let beyond = [('s', 'S', 0x17F), ('k', 'K', 0x212A)];
        let more: Vec<u32> = beyond
            .into_iter()
            .filter(|(small, large, _)| takes(*small) || takes(*large))
            .map(|(_, _, other)| other)
            .collect();
        let both_cases = takes('a') && takes('A');
        if !more.is_empty() && !both_cases {
            all.extend([(u32::from('A'), u32::from('Z')), (u32::from('a'), u32::from('z'))]);
            all.sort_unstable();
        }
        all.extend(more.into_iter().map(|code| (code, code)));
    }
    if !negated {
        for (low, high) in all {
            write_range(out, low, high);
        }
        return;
    }
    let mut next = 0;
    for (low, high) in all {
        if low > next {
            write_range(out, next, low - 1);
        }
        next = next.max(high + 1);
    }
    write_range(out, next, u32::from(char::MAX));
}

/// Writes a range of codes; those of surrogates are in no text.
pub(super) fn write_range(out: &mut String, low: u32, high: u32) {
    let within = |code: u32| (0xD800..0xE000).contains(&code);
    let low = if within(low) { 0xE000 } else { low };
    let high = if within(high) { 0xD7FF } else { high };
    if low > high {
        return;
    }
    write_code(out, low);
    if low < high {
        out.push('-');
        write_code(out, high);
    }
}

fn write_code(out: &mut String, code: u32) {
    match char::from_u32(code) {
        Some(c) if c.is_ascii_alphanumeric() || code > 0xA0 => out.push(c),
        // Writing into a String cannot fail.
        _ => drop(write!(out, "\\x{{{code:x}}}")),
    }
}

/// General categories, and what else they are called. (A word for their own letters' case is told apart.)
const CATEGORIES: [(&str, &str); 41] = [
    ("C", "Other"),
    ("Cc", "Control cntrl"),
    ("Cf", "Format"),
    ("Cn", "Unassigned"),
    ("Co", "PrivateUse"),
    ("Cs", "Surrogate"),
    ("L", "Letter"),
    ("LC", "CasedLetter"),
    ("Ll", "LowercaseLetter"),
    ("Lm", "ModifierLetter"),
    ("Lo", "OtherLetter"),
    ("Lt", "TitlecaseLetter"),
    ("Lu", "UppercaseLetter"),
    ("M", "Mark CombiningMark"),
    ("Mc", "SpacingMark"),
    ("Me", "EnclosingMark"),
    ("Mn", "NonspacingMark"),
    ("N", "Number"),
    ("Nd", "DecimalNumber digit"),
    ("Nl", "LetterNumber"),
    ("No", "OtherNumber"),
    ("P", "Punctuation punct"),
    ("Pc", "ConnectorPunctuation"),
    ("Pd", "DashPunctuation"),
    ("Pe", "ClosePunctuation"),
    ("Pf", "FinalPunctuation"),
    ("Pi", "InitialPunctuation"),
    ("Po", "OtherPunctuation"),
    ("Ps", "OpenPunctuation"),
    ("S", "Symbol"),
    ("Sc", "CurrencySymbol"),
    ("Sk", "ModifierSymbol"),
    ("Sm", "MathSymbol"),
    ("So", "OtherSymbol"),
    ("Z", "Separator"),
    ("Zl", "LineSeparator"),
    ("Zp", "ParagraphSeparator"),
    ("Zs", "SpaceSeparator"),
    ("Any", ""),
    ("Assigned", ""),
    ("Ascii", ""),
];

/// Scripts. Go 1.26 finds those of one word only.
const SCRIPTS: &str = "Adlam Ahom Arabic Armenian Avestan Balinese Bamum Batak Bengali Bhaiksuki Bopomofo Brahmi Braille \
    Buginese Buhid Carian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari \
    Dogra Duployan Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gurmukhi Han Hangul \
    Hanunoo Hatran Hebrew Hiragana Inherited Javanese Kaithi Kannada Katakana Kawi Kharoshthi Khmer Khojki Khudawadi \
    Lao Latin Lepcha Limbu Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Medefaidrin Miao \
    Modi Mongolian Mro Multani Myanmar Nabataean Nandinagari Newa Nko Nushu Ogham Oriya Osage Osmanya Palmyrene \
    Phoenician Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham Sinhala Sogdian Soyombo Sundanese Syriac \
    Tagalog Tagbanwa Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi \
    Wancho Yezidi Yi";

/// Writes a class of Unicode as a member of a class; whether there is one of that name. Case, blanks, hyphens and
/// underscores of the name do not count.
pub(super) fn write_unicode(out: &mut String, name: &str, negated: bool) -> bool {
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect();
    let same = |known: &str| known.eq_ignore_ascii_case(&name);
    let sign = if negated { 'P' } else { 'p' };
    let category = CATEGORIES
        .iter()
        .find(|(short, long)| same(short) || long.split(' ').any(same))
        .filter(|_| !name.is_empty());
    match category {
        // No text holds surrogates.
        Some(("Cs", _)) if negated => out.push_str("\\x00-\\x{10FFFF}"),
        Some(("Cs", _)) => {}
        Some((short, _)) => drop(write!(out, "\\{sign}{{{short}}}")),
        None => match SCRIPTS.split_ascii_whitespace().find(|script| same(script)) {
            Some(script) => drop(write!(out, "\\{sign}{{sc={script}}}")),
            None => return false,
        },
    }
    true
}
