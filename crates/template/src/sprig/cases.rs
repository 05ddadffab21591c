//! `camelcase`, `snakecase` and `kebabcase`: where the reference sees words begin and end.

use super::strings::{lower, upper};

/// What a run of characters is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// Spaces, `-` and `_`.
    Connector,
    Punctuation,
    /// Capitals, or a capital with the small letters behind it.
    Capital,
    Small,
    Digits,
    Other,
}

fn is_connector(c: char) -> bool {
    matches!(c, '-' | '_') || c.is_whitespace()
}

/// Unicode's punctuation, of which only what texts have is listed beyond ASCII; `$+<=>^|~` are symbols.
fn is_punctuation(c: char) -> bool {
    match c {
        '\0'..='\x7F' => c.is_ascii_punctuation() && !"$+<=>^`|~".contains(c),
        _ => matches!(c,
            '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2043}'
            | '\u{2045}'..='\u{2051}' | '\u{2053}'..='\u{205E}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}'),
    }
}

/// A letter of a script that is written with spaces.
fn is_letter(c: char) -> bool {
    c.is_alphabetic()
        && !matches!(c, '\u{3400}'..='\u{4D85}' | '\u{4E00}'..='\u{9FCC}' | '\u{20000}'..='\u{2B81D}')
}

fn run_of(c: char) -> Run {
    if is_connector(c) {
        Run::Connector
    } else if is_punctuation(c) {
        Run::Punctuation
    } else if c.is_uppercase() {
        Run::Capital
    } else if is_letter(c) {
        Run::Small
    } else if c.is_numeric() {
        Run::Digits
    } else {
        Run::Other
    }
}

/// How many characters the word at the start has, by what they are each.
fn length(runs: &[Run]) -> usize {
    let same = |from: usize, run: Run| runs[from..].iter().take_while(|one| **one == run).count();
    if runs[0] != Run::Capital {
        return same(0, runs[0]);
    }
    match (same(0, Run::Capital), same(1, Run::Small)) {
        (1, small) => 1 + small,
        // The last capital begins the word that follows: `HTTPStatus`.
        (capitals, _) if runs.get(capitals) == Some(&Run::Small) => capitals - 1,
        (capitals, _) => capitals,
    }
}

/// The words of a text.
fn words(text: &str) -> Vec<(Run, String)> {
    let chars: Vec<char> = text.chars().collect();
    let runs: Vec<Run> = chars.iter().copied().map(run_of).collect();
    let (mut words, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let end = at + length(&runs[at..]);
        words.push((runs[at], chars[at..end].iter().collect()));
        at = end;
    }
    words
}

/// `snake_case` and `kebab-case`.
pub(super) fn separated(text: &str, connector: char) -> String {
    let words = words(text);
    let run = |at: usize| words.get(at).map(|(run, _)| *run);
    let mut out = String::with_capacity(text.len() + 8);
    let write = |out: &mut String, at: usize| match &words[at] {
        (Run::Connector, word) => out.extend(word.chars().map(|_| connector)),
        (Run::Capital, word) => out.extend(word.chars().map(lower)),
        (_, word) => out.push_str(word),
    };
    let mut at = 0;
    while at < words.len() {
        write(&mut out, at);
        let before = words[at].0;
        at += 1;
        if matches!(before, Run::Connector | Run::Punctuation) {
            continue;
        }
        // Digits stay with what is before them, unless small letters follow: these take them along.
        let taken = before == Run::Digits || run(at) == Some(Run::Digits) && run(at + 1) == Some(Run::Small);
        if taken {
            if before != Run::Digits {
                out.push(connector);
            }
            while matches!(run(at), Some(Run::Digits | Run::Small)) {
                write(&mut out, at);
                at += 1;
            }
        } else if run(at) == Some(Run::Digits) {
            write(&mut out, at);
            at += 1;
        }
        if !matches!(run(at), None | Some(Run::Connector | Run::Punctuation)) {
            out.push(connector);
        }
    }
    out
}

/// `PascalCase`: connectors go, the letter behind one is large, and so many capitals as begin a word become small.
pub(super) fn pascal(text: &str) -> String {
    let rest = text.trim_start_matches(is_connector);
    let mut out = text[..text.len() - rest.len()].to_owned();
    let mut chars = rest.chars();
    let Some(first) = chars.next() else {
        // Of connectors alone, the reference writes the last one twice.
        out.extend(text.chars().next_back());
        return out;
    };
    let mut shouts = first.is_uppercase();
    let mut held = upper(first);
    for mut c in chars {
        if !is_connector(held) {
            shouts &= c.is_uppercase();
            out.push(held);
            if shouts {
                c = lower(c);
            }
        } else if is_connector(c) {
            out.push(held);
        } else {
            shouts = c.is_uppercase();
            c = upper(c);
        }
        held = c;
    }
    out.push(held);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart_as_the_reference_does() {
        for (text, want) in [
            ("FirstName", "first_name"),
            ("HTTPServer", "http_server"),
            ("HTTP20xOK", "http_20x_ok"),
            ("Duration2m3s", "duration_2m3s"),
            ("Bld4Floor3rd", "bld4_floor_3rd"),
            ("GO PATH", "go_path"),
            ("someMixed_case-String here", "some_mixed_case_string_here"),
            ("<a href=\"x\">&amp;</a>", "<_a_href_=\"x\">&amp;</a_>"),
            ("a\0b", "a_\0_b"),
            ("v1.2.3-rc.1", "v1.2.3_rc.1"),
            ("a__b", "a__b"),
            ("ÄÖe3", "ä_öe3"),
            ("", ""),
        ] {
            assert_eq!(separated(text, '_'), want, "{text}");
        }
        assert_eq!(separated("no HTTPS1", '-'), "no-https1");
    }

    #[test]
    fn capitals_at_the_start_of_a_word_become_small() {
        for (text, want) in [
            ("some_words", "SomeWords"),
            ("ABC def", "AbcDef"),
            ("GOLANG_IS_GREAT", "GolangIsGreat"),
            ("_complex__case_", "_Complex_Case_"),
            ("camelCase", "CamelCase"),
            ("A\tb\r\nc", "AB\rC"),
            ("_", "__"),
            ("", ""),
        ] {
            assert_eq!(pascal(text), want, "{text}");
        }
    }
}
