//! Keys and values of generated ConfigMaps and Secrets: from env files, literals and files.

use std::collections::BTreeMap;

use fluvial_yaml::Pos;

use crate::error::{Error, Result, Within};
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
use crate::session::Session;

/// The most bytes that one generator may read.
const MAX_BYTES: usize = 64 << 20;

/// Values by key, with where they are written.
pub(crate) type KeyValues = BTreeMap<String, (Vec<u8>, Pos)>;

/// Where the values come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    envs: Vec<Text>,
    literals: Vec<Text>,
    files: Vec<Text>,
}

impl Sources {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        let mut envs = reader.texts("envs")?;
        let env = reader.located("env")?;
        if !env.text.is_empty() {
            envs.push(env);
        }
        Ok(Sources {
            envs,
            literals: reader.texts("literals")?,
            files: reader.texts("files")?,
        })
    }

    /// Reads all sources.
    pub(crate) fn load(&self, session: &Session<'_>, loader: &Loader, what: &str) -> Result<KeyValues> {
        let mut pairs = Vec::new();
        let step = |kind: &str, source: &Text| format!("{kind} source '{}'", source.text);
        for source in &self.envs {
            let read = || {
                let loaded = loader.load(session, &source.text).map_err(Error::from)?;
                let file = session.add_file(&loaded.name);
                let lines = env_lines(loaded.file.data()).map_err(|error| error.at(&loaded.name, 0))?;
                let at = move |line: u32| Pos {
                    file,
                    line,
                    column: 1,
                };
                Ok(lines
                    .into_iter()
                    .map(move |(line, key, value)| (key, value, at(line))))
            };
            let read = read().within(|| step("env", source));
            pairs.extend(read.map_err(|error: Error| session.at(error, source.pos))?);
        }
        for source in &self.literals {
            let read = literal(&source.text).within(|| step("literal", source));
            let (key, value) = read.map_err(|error| session.at(error, source.pos))?;
            pairs.push((key, value, source.pos));
        }
        for source in &self.files {
            let read = || {
                let (key, path) = file_source(&source.text)?;
                let loaded = loader.load(session, &path).map_err(Error::from)?;
                let file = session.add_file(&loaded.name);
                let pos = Pos {
                    file,
                    line: 1,
                    column: 1,
                };
                Ok((key, loaded.file.data().to_vec(), pos))
            };
            let read = read().within(|| step("file", source));
            pairs.push(read.map_err(|error| session.at(error, source.pos))?);
        }
        let bytes = pairs.iter().map(|(_, value, _)| value.len()).sum::<usize>();
        session.budget.read(bytes)?;
        if bytes > MAX_BYTES {
            return Err(Error::new(format!(
                "the {what} holds more than {MAX_BYTES} bytes"
            )));
        }
        let mut map = KeyValues::new();
        for (key, value, pos) in pairs {
            if map.insert(key.clone(), (value, pos)).is_some() {
                return Err(Error::new(format!("{what} illegally repeats the key `{key}`")));
            }
        }
        Ok(map)
    }
}

/// Reads `KEY=VALUE` lines.
///
/// # Errors
/// If a line is no UTF-8 text.
pub fn env_file(data: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let lines = env_lines(data)?;
    Ok(lines.into_iter().map(|(_, key, value)| (key, value)).collect())
}

/// The same with the numbers of the lines.
fn env_lines(data: &[u8]) -> Result<Vec<(u32, String, Vec<u8>)>> {
    let mut pairs = Vec::new();
    let data = data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data);
    for (number, line) in (1..).zip(data.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line)
            .map_err(|_| Error::new(format!("line {number} has invalid utf8 bytes")))?
            .trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        // Without `=`, the reference asks the environment of the process; a build has none.
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() {
            continue;
        }
        pairs.push((number, key.to_owned(), value.as_bytes().to_vec()));
    }
    Ok(pairs)
}

fn literal(source: &str) -> Result<(String, Vec<u8>)> {
    match source.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok((key.to_owned(), without_quotes(value).as_bytes().to_vec()))
        }
        _ => Err(Error::new(format!(
            "invalid literal source {source}, expected key=value"
        ))),
    }
}

/// Takes one pair of quotes off.
fn without_quotes(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// `path` or `key=path`.
fn file_source(source: &str) -> Result<(String, String)> {
    let mut parts = source.split('=');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(path), None, _) => {
            let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            Ok((name.to_owned(), path.to_owned()))
        }
        (Some(""), Some(path), None) => Err(Error::new(format!("missing key name for file path {path}"))),
        (Some(key), Some(""), None) => Err(Error::new(format!("missing file path for key name {key}"))),
        (Some(key), Some(path), None) => Ok((key.to_owned(), path.to_owned())),
        _ => Err(Error::new("key names or file paths cannot contain '='")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_lines_skip_comments() {
        let pairs = env_file(b"\xEF\xBB\xBF# x\n\n A=1=2 \r\nB\n").unwrap();
        assert_eq!(
            pairs,
            [("A".to_owned(), b"1=2 ".to_vec()), ("B".to_owned(), Vec::new())]
        );
        assert_eq!(env_file(b"=x\n").unwrap(), []);
        assert!(env_file(b"a=\xFF").is_err());
    }

    #[test]
    fn literals_lose_one_pair_of_quotes() {
        assert_eq!(literal("a=\"b'\"").unwrap().1, b"b'");
        assert!(literal("=b").is_err());
    }

    #[test]
    fn file_sources_are_named_by_their_file() {
        assert_eq!(file_source("a/b.txt").unwrap().0, "b.txt");
        assert_eq!(file_source("k=a/b.txt").unwrap().0, "k");
        assert!(file_source("k=").is_err() && file_source("=p").is_err() && file_source("a=b=c").is_err());
    }
}
