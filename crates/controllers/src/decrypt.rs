//! What of a repository is encrypted, and where: files that generators and patches read, whole objects, and entries of
//! Secrets. Pure: the keys are behind a port.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_delivery::control::is_decryption_disabled;
use fluvial_kustomize::FILE_NAMES;
use fluvial_object::ObjectExt;
use fluvial_ports::{DecryptionError, Decryptor, Format, Integrity};
use fluvial_tree::{File, Tree, TreePath};
use serde_json::Value;

/// Largest encrypted file.
const LIMIT: usize = 5 << 20;

/// The format that a file's name, or the name of an entry, stands for.
fn format_of(name: &str) -> Format {
    if name.ends_with(".dockerconfigjson") {
        return Format::Json;
    }
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yaml" | "yml") => Format::Yaml,
        Some("json") => Format::Json,
        Some("env") => Format::Dotenv,
        Some("ini") => Format::Ini,
        _ => Format::Binary,
    }
}

fn contains(data: &[u8], mark: &str) -> bool {
    data.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// Whether a text is encrypted, if it is of a format.
fn is_encrypted(data: &[u8], format: Format) -> bool {
    match format {
        Format::Yaml => contains(data, "mac: ENC["),
        // Binary files are put into an envelope of JSON.
        Format::Json | Format::Binary => {
            contains(data, r#""mac": "ENC["#) || contains(data, r#""mac":"ENC["#)
        }
        Format::Dotenv => contains(data, "sops_mac=ENC["),
        Format::Ini => contains(data, "[sops]") && contains(data, "ENC["),
    }
}

/// The format of an encrypted text.
fn encrypted_format(data: &[u8]) -> Option<Format> {
    let formats = [Format::Dotenv, Format::Json, Format::Ini, Format::Yaml];
    formats.into_iter().find(|format| is_encrypted(data, *format))
}

/// Why something does not decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Text, with what it is about.
    pub message: String,
    /// Whether a later try may work with nothing changed.
    pub transient: bool,
}

impl Refused {
    fn new(what: &str, error: &DecryptionError) -> Self {
        Self {
            message: format!("{what}: {}", error.message),
            transient: error.transient,
        }
    }
}

/// A tree whose kustomizations can read what is encrypted for them: the files of `secretGenerator` and of `patches`,
/// in the folder and in every local one that it draws in. The tree itself if nothing of it is encrypted.
///
/// # Errors
/// A file does not decrypt.
pub fn files(tree: &Tree, folder: &TreePath, decryptor: &dyn Decryptor) -> Result<Tree, Refused> {
    let mut found = Found {
        tree,
        folders: BTreeSet::new(),
        seen: BTreeSet::new(),
        decrypted: Vec::new(),
        decryptor,
    };
    let mut open = vec![folder.clone()];
    while let Some(folder) = open.pop() {
        found.folder(&folder, &mut open)?;
    }
    if found.decrypted.is_empty() {
        return Ok(tree.clone());
    }
    let mut builder = tree.to_builder();
    for (path, file) in found.decrypted {
        builder.remove(&path);
        builder.file(path.as_str(), file).map_err(|error| Refused {
            message: format!("{path}: {error}"),
            transient: false,
        })?;
    }
    Ok(builder.build())
}

struct Found<'a> {
    tree: &'a Tree,
    folders: BTreeSet<TreePath>,
    seen: BTreeSet<TreePath>,
    decrypted: Vec<(TreePath, File)>,
    decryptor: &'a dyn Decryptor,
}

impl Found<'_> {
    /// Looks through one kustomization. What is wrong with it otherwise, the build says.
    fn folder(&mut self, folder: &TreePath, open: &mut Vec<TreePath>) -> Result<(), Refused> {
        let Ok((folder, fluvial_tree::Entry::Folder)) = self.tree.resolve(folder) else {
            return Ok(());
        };
        if !self.folders.insert(folder.clone()) {
            return Ok(());
        }
        let Some(kustomization) = self.kustomization(&folder) else {
            return Ok(());
        };
        for generator in list(&kustomization, "secretGenerator") {
            for source in texts(generator, "files") {
                let (key, path) = source.split_once('=').unwrap_or((source, source));
                self.file(&folder, path, format_of(key))?;
            }
            let env = generator.get("env").and_then(Value::as_str);
            for path in texts(generator, "envs").chain(env) {
                let format = match format_of(path) {
                    Format::Binary => Format::Dotenv,
                    known => known,
                };
                self.file(&folder, path, format)?;
            }
        }
        for patch in list(&kustomization, "patches") {
            if let Some(path) = patch.get("path").and_then(Value::as_str) {
                self.file(&folder, path, format_of(path))?;
            }
        }
        let below = texts(&kustomization, "resources").chain(texts(&kustomization, "components"));
        open.extend(below.filter_map(|path| folder.join(path).ok()));
        Ok(())
    }

    fn kustomization(&self, folder: &TreePath) -> Option<Value> {
        let file = FILE_NAMES.iter().find_map(|name| {
            let path = folder.join(name).ok()?;
            self.tree.file(&path).ok()
        })?;
        let text = std::str::from_utf8(file.data()).ok()?;
        fluvial_yaml::yaml_to_json(text, false).ok()
    }

    fn file(&mut self, folder: &TreePath, path: &str, format: Format) -> Result<(), Refused> {
        let Ok(path) = folder.join(path) else {
            return Ok(());
        };
        let Ok((path, fluvial_tree::Entry::File(file))) = self.tree.resolve(&path) else {
            return Ok(());
        };
        if !is_encrypted(file.data(), format) || !self.seen.insert(path.clone()) {
            return Ok(());
        }
        let refused =
            |error: &DecryptionError| Refused::new(&format!("error decrypting sources: {path}"), error);
        if file.data().len() > LIMIT {
            return Err(refused(&DecryptionError {
                message: format!(
                    "cannot decrypt file with size ({} bytes) exceeding limit ({LIMIT})",
                    file.data().len()
                ),
                transient: false,
            }));
        }
        let plain = self
            .decryptor
            .decrypt(file.data(), format, format, Integrity::Checked)
            .map_err(|error| refused(&error))?;
        self.decrypted.push((path, File::new(plain, false)));
        Ok(())
    }
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn texts<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v str> {
    list(value, field).filter_map(Value::as_str)
}

/// Decrypts a built object, as a whole or by the entries of a Secret; `None` if nothing of it is encrypted.
///
/// # Errors
/// It does not decrypt.
pub fn object(object: &Value, decryptor: &dyn Decryptor) -> Result<Option<Value>, Refused> {
    if is_decryption_disabled(object) {
        return Ok(None);
    }
    let about = |what: &str| {
        format!(
            "decryption failed for '{}': failed to decrypt and format '{}/{}' {what}",
            object.name(),
            object.namespace(),
            object.name()
        )
    };
    if has_code(object) {
        let what = about(&format!("{} data", object.kind()));
        // Builds change objects on purpose: names, labels, order.
        let plain = decryptor
            .decrypt(
                object.to_string().as_bytes(),
                Format::Json,
                Format::Json,
                Integrity::Values,
            )
            .map_err(|error| Refused::new(&what, &error))?;
        return serde_json::from_slice(&plain).map(Some).map_err(|error| Refused {
            message: format!("{what}: {error}"),
            transient: false,
        });
    }
    if object.kind() != "Secret" {
        return Ok(None);
    }
    let mut changed = None;
    for (key, value) in object
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let Some((data, format)) = entry(value) else {
            continue;
        };
        let plain = decryptor
            .decrypt(&data, format, format_of(key), Integrity::Checked)
            .map_err(|error| Refused::new(&about(&format!("Secret field '{key}'")), &error))?;
        let changed = changed.get_or_insert_with(|| object.clone());
        changed["data"][key] = Value::String(STANDARD.encode(plain));
    }
    Ok(changed)
}

/// An entry of a Secret that is encrypted by itself.
fn entry(value: &Value) -> Option<(Vec<u8>, Format)> {
    let data = STANDARD.decode(value.as_str()?).ok()?;
    let format = encrypted_format(&data)?;
    Some((data, format))
}

fn has_code(object: &Value) -> bool {
    let mac = object.pointer("/sops/mac").and_then(Value::as_str);
    mac.is_some_and(|mac| !mac.is_empty())
}

/// What of an object is encrypted still, for a message.
pub fn still_encrypted(object: &Value) -> Option<String> {
    if object.get("sops").is_some_and(Value::is_object) {
        return Some("the field 'sops'".to_owned());
    }
    if object.kind() != "Secret" || !object.group().is_empty() || is_decryption_disabled(object) {
        return None;
    }
    let data = object.get("data").and_then(Value::as_object)?;
    let (key, _) = data.iter().find(|(_, value)| entry(value).is_some())?;
    Some(format!("SOPS content in data['{key}']"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Keeps what it was asked, and turns everything into `plain`.
    struct Fake;

    impl Decryptor for Fake {
        fn decrypt(
            &self,
            data: &[u8],
            input: Format,
            output: Format,
            _: Integrity,
        ) -> Result<Vec<u8>, DecryptionError> {
            if contains(data, "broken") {
                return Err(DecryptionError {
                    message: "no key".to_owned(),
                    transient: true,
                });
            }
            match output {
                Format::Json => {
                    Ok(br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}"#.to_vec())
                }
                _ => Ok(format!("PLAIN={input:?}>{output:?}").into_bytes()),
            }
        }
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut builder = Tree::default().to_builder();
        for (path, text) in files {
            builder.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        builder.build()
    }

    fn read(tree: &Tree, path: &str) -> String {
        let file = tree.file(&TreePath::parse(path).unwrap()).unwrap();
        String::from_utf8(file.data().to_vec()).unwrap()
    }

    #[test]
    fn files_of_generators_and_patches_are_decrypted_wherever_they_are_drawn_in() {
        let tree = tree(&[
            (
                "apps/kustomization.yaml",
                "resources: [../base]\ncomponents: [../parts]\n",
            ),
            (
                "base/kustomization.yaml",
                "secretGenerator:\n- name: a\n  files: [config.json=secret.bin, plain.txt]\n  envs: [vars]\n",
            ),
            ("base/secret.bin", r#"{"sops": {"mac": "ENC[x]"}}"#),
            ("base/plain.txt", "nothing"),
            ("base/vars", "sops_mac=ENC[x]"),
            ("parts/kustomization.yaml", "patches:\n- path: patch.yaml\n"),
            ("parts/patch.yaml", "sops:\n  mac: ENC[x]\n"),
            (
                "other/kustomization.yaml",
                "secretGenerator:\n- files: [a.yaml]\n",
            ),
            ("other/a.yaml", "sops:\n  mac: ENC[x]\n"),
        ]);
        let plain = files(&tree, &TreePath::parse("apps").unwrap(), &Fake).unwrap();
        assert!(
            read(&plain, "base/secret.bin").contains("Secret"),
            "its name in the Secret says JSON"
        );
        assert_eq!(read(&plain, "base/vars"), "PLAIN=Dotenv>Dotenv");
        assert_eq!(read(&plain, "parts/patch.yaml"), "PLAIN=Yaml>Yaml");
        assert_eq!(read(&plain, "base/plain.txt"), "nothing");
        assert!(
            read(&plain, "other/a.yaml").contains("ENC["),
            "nobody draws it in"
        );
    }

    #[test]
    fn a_file_that_does_not_decrypt_is_named() {
        let tree = tree(&[
            ("kustomization.yaml", "secretGenerator:\n- envs: [a.env]\n"),
            ("a.env", "sops_mac=ENC[broken]"),
        ]);
        let refused = files(&tree, &TreePath::root(), &Fake).unwrap_err();
        assert_eq!(refused.message, "error decrypting sources: a.env: no key");
        assert!(refused.transient);
    }

    #[test]
    fn secrets_are_decrypted_by_entry_or_as_a_whole() {
        let encoded = STANDARD.encode("sops_mac=ENC[x]");
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a.env": encoded, "b": "cGxhaW4="}});
        let plain = object(&secret, &Fake).unwrap().unwrap();
        assert_eq!(plain["data"]["a.env"], STANDARD.encode("PLAIN=Dotenv>Dotenv"));
        assert_eq!(plain["data"]["b"], "cGxhaW4=");
        assert!(still_encrypted(&secret).unwrap().contains("a.env"));
        assert_eq!(still_encrypted(&plain), None);

        let whole = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "sops": {"mac": "ENC[x]"}});
        assert!(object(&whole, &Fake).unwrap().unwrap().get("sops").is_none());
        let mut kept = whole;
        kept.set_annotation("kustomize.toolkit.fluxcd.io/decrypt", "Disabled");
        assert_eq!(object(&kept, &Fake), Ok(None));
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}, "data": {"a": "sops"}});
        assert_eq!(object(&map, &Fake), Ok(None));
    }

    #[test]
    fn an_object_that_does_not_decrypt_is_named_as_flux_names_it() {
        let whole = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"},
            "sops": {"mac": "ENC[broken]"}});
        assert_eq!(
            object(&whole, &Fake).unwrap_err().message,
            "decryption failed for 's': failed to decrypt and format 'ns/s' Secret data: no key"
        );
    }
}
