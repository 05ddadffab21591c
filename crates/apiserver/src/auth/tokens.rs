//! Static bearer tokens, in kube-apiserver's file format.

use rustc_hash::FxHashMap;

use super::User;

/// Tokens of a file: `token,user,uid[,"group1,group2"]` lines.
#[derive(Clone, Debug, Default)]
pub struct StaticTokens(FxHashMap<String, User>);

/// A line of a token file that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("token file, line {line}: {message}")]
pub struct TokenFileError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: &'static str,
}

fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields.last_mut().expect("there is always a field").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("there is always a field").push(other),
        }
    }
    fields
}

impl StaticTokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// A line has fewer than three columns or an empty token.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = FxHashMap::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = index + 1;
            let fields = csv_fields(line);
            if fields.len() < 3 {
                let message = "expected at least the columns token, user name and user uid";
                return Err(TokenFileError {
                    line: line_number,
                    message,
                });
            }
            let trimmed = |index: usize| fields.get(index).map_or("", |field| field.trim()).to_owned();
            let (token, name, uid) = (trimmed(0), trimmed(1), trimmed(2));
            if token.is_empty() {
                return Err(TokenFileError {
                    line: line_number,
                    message: "the token is empty",
                });
            }
            let groups = trimmed(3)
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty())
                .map(str::to_owned)
                .collect();
            tokens.insert(
                token,
                User {
                    name,
                    uid,
                    groups,
                    ..User::default()
                },
            );
        }
        Ok(StaticTokens(tokens))
    }

    /// Adds a token.
    pub fn insert(&mut self, token: impl Into<String>, user: User) {
        self.0.insert(token.into(), user);
    }

    /// Who a token belongs to.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<User> {
        self.0.get(token).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_read_as_kube_apiserver_does() {
        let tokens = StaticTokens::parse("a-token,alice,1,\"devs, ops\"\nb,bob,2\n").unwrap();
        assert_eq!(tokens.find("a-token").unwrap().groups, ["devs", "ops"]);
        assert_eq!(tokens.find("b").unwrap().name, "bob");
        assert_eq!(StaticTokens::parse("\nx,y").unwrap_err().line, 2);
    }
}
