use super::{go_regex_error, translate};

#[test]
fn refusals_are_gos() {
    for (pattern, want) in [
        ("^[a-z]+(x|y){2,3}?$", ""),
        ("[unclosed", "missing closing ]: `[unclosed`"),
        ("[", "missing closing ]: `[`"),
        ("^(?!x).*$", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?i-)x", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?)x(?i-s:y)", ""),
        ("(?P<é>x)", "invalid named capture: `(?P<é>`"),
        ("(?P<n>x)(?P<n>y)", ""),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("(?:a{100}b){11}", "invalid repeat count: `{11}`"),
        ("(?:a{100}b){10}a{,2}a{02}", ""),
        ("(a", "missing closing ): `(a`"),
        ("a)b", "unexpected ): `a)b`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*(?i)*", ""),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"[\1]", r"invalid escape sequence: `\1`"),
        (r"[\101]\x{10FFFF}\x4f", ""),
        (r"\x4-", r"invalid escape sequence: `\x4-`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (
            r"\p{Old_Italic}",
            r"invalid character class range: `\p{Old_Italic}`",
        ),
        (r"\p{^greek}\PL\p{lowercase letter}", ""),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[[:nope:]]", "invalid character class range: `[:nope:]`"),
        ("\\", "trailing backslash at end of expression: ``"),
    ] {
        let got = go_regex_error(pattern).unwrap_or_default();
        let got = got.strip_prefix("error parsing regexp: ").unwrap_or(&got);
        assert_eq!(got, want, "{pattern}");
    }
}

#[test]
fn what_the_engines_read_otherwise_is_written_for_them() {
    for (pattern, want) in [
        (r"\<a\_", r"<a_"),
        (
            r"[\W\d]",
            r"[\x{0}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{5e}\x{60}\x{7b}-\u{10ffff}0-9]",
        ),
        ("[a&&b~~-]", r"[a\x{26}\x{26}b\x{7e}\x{7e}\x{2d}]"),
        ("a{,2}", r"a\{,2\}"),
        (r"\Qa.b", r"a\.b"),
        ("(?U)a*?b+", "a*b+?"),
        ("(?i)a(?-i)b(?i:c)d", "(?i)a(?-i)b(?:(?i)c)d"),
        ("(?s).(?m)^", "(?s:.)(?m:^)"),
        ("(?P<n>a)", "(a)"),
        ("a*(?i)*", "(?:a*)*"),
        (r"[\x{D800}]", r"[^\x00-\x{10FFFF}]"),
    ] {
        let got = translate(pattern).map(|translated| translated.text);
        let want = want.replace("\\u{10ffff}", "\u{10ffff}");
        assert_eq!(got, Ok(want), "{pattern}");
    }
}
