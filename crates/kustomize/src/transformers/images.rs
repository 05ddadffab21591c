//! `images`: changes names, tags and digests of container images.

use fluvial_yaml::{Node, NodeData, Pos};
use regex::{Regex, RegexBuilder};

use crate::budget::check_name;
use crate::error::Result;
use crate::fieldspec::FieldSpec;
use crate::kustomization::read::Reader;
use crate::nodes::{self, Kind, is_null, text_at, untagged};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;

/// An entry of `images`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The image's name as it stands in the objects: a regular expression.
    pub name: String,
    /// The name that replaces it.
    pub new_name: String,
    /// What is added to the tag.
    pub tag_suffix: String,
    /// The tag that replaces tag and digest.
    pub new_tag: String,
    /// The digest that replaces tag and digest.
    pub digest: String,
    /// Where it is set.
    pub pos: Pos,
}

impl Image {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["name", "newName", "tagSuffix", "newTag", "digest"])?;
        Self::read_loosely(reader)
    }

    pub(crate) fn read_loosely(reader: &Reader<'_>) -> Result<Self> {
        Ok(Image {
            name: reader.string("name")?,
            new_name: reader.string("newName")?,
            tag_suffix: reader.string("tagSuffix")?,
            new_tag: reader.string("newTag")?,
            digest: reader.string("digest")?,
            pos: ["newTag", "digest", "newName"]
                .into_iter()
                .find_map(|field| reader.get(field))
                .map_or_else(|| reader.pos(), |value| value.pos),
        })
    }

    /// The image with its new name, tag and digest.
    fn rewrite(&self, image: &str) -> String {
        let ImageParts {
            mut name,
            mut tag,
            mut digest,
        } = ImageParts::split(image);
        let suffixed;
        if !self.new_name.is_empty() {
            name = &self.new_name;
        }
        if !self.new_tag.is_empty() {
            (tag, digest) = (&self.new_tag, &self.digest);
        } else if !self.digest.is_empty() {
            (tag, digest) = ("", &self.digest);
        } else if !self.tag_suffix.is_empty() {
            suffixed = format!("{tag}{}", self.tag_suffix);
            (tag, digest) = (&suffixed, "");
        }
        let mut out = name.to_owned();
        for (mark, part) in [(':', tag), ('@', digest)] {
            if !part.is_empty() {
                out.push(mark);
                out.push_str(part);
            }
        }
        out
    }
}

/// An image reference taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageParts<'a> {
    /// Name with registry.
    pub name: &'a str,
    /// Tag; empty if none.
    pub tag: &'a str,
    /// Digest; empty if none.
    pub digest: &'a str,
}

impl<'a> ImageParts<'a> {
    /// Takes an image reference apart.
    #[must_use]
    pub fn split(image: &'a str) -> Self {
        // What stands before the first slash is a registry, with its port.
        let path = image.find('/').unwrap_or(0);
        let find = |mark: char| image[path..].find(mark).map(|at| path + at);
        let (at, colon) = (find('@'), find(':'));
        let digest = at.map_or("", |at| &image[at + 1..]);
        let (name, tag) = match (colon, at) {
            (Some(colon), Some(at)) if at < colon => (&image[..at], ""),
            (Some(colon), at) => (&image[..colon], &image[colon + 1..at.unwrap_or(image.len())]),
            (None, at) => (&image[..at.unwrap_or(image.len())], ""),
        };
        ImageParts { name, tag, digest }
    }
}

/// Matches an image reference whatever its tag and digest.
#[derive(Clone, Debug)]
enum Matcher {
    /// A name that is no more than it says, but for dots, which stand for any character.
    Name(String),
    Regex(Regex),
    /// No regular expression: it matches nothing.
    Nothing,
}

impl Matcher {
    fn new(name: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.');
        if name.bytes().all(plain) {
            return Matcher::Name(name.to_owned());
        }
        RegexBuilder::new(&format!(
            "^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$"
        ))
        .size_limit(1 << 20)
        .build()
        .map_or(Matcher::Nothing, Matcher::Regex)
    }

    fn matches(&self, image: &str) -> bool {
        match self {
            Matcher::Nothing => false,
            Matcher::Regex(regex) => regex.is_match(image),
            Matcher::Name(name) => Self::matches_name(image, name),
        }
    }

    fn matches_name(image: &str, name: &str) -> bool {
        let mut rest = image.chars();
        for wanted in name.chars() {
            match rest.next() {
                Some(found) if found == wanted || (wanted == '.' && found != '\n') => {}
                _ => return false,
            }
        }
        let rest = rest.as_str();
        let is_word = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'{' | b'}' | b'-'))
        };
        let (tag, digest) = rest
            .split_once('@')
            .map_or((rest, None), |(tag, digest)| (tag, Some(digest)));
        let tag_fits = tag.is_empty() || tag.strip_prefix(':').is_some_and(is_word);
        tag_fits && digest.is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(is_word))
    }
}

/// Whether an image reference has this name; the name is a regular expression.
#[must_use]
pub fn image_matches(image: &str, name: &str) -> bool {
    Matcher::new(name).matches(image)
}

/// The transformer.
#[derive(Clone, Debug)]
pub(crate) struct ImageTransformer {
    image: Image,
    fields: Vec<FieldSpec>,
    matcher: Matcher,
}

impl ImageTransformer {
    pub(crate) fn new(image: Image, fields: Vec<FieldSpec>) -> Self {
        let matcher = Matcher::new(&image.name);
        ImageTransformer {
            image,
            fields,
            matcher,
        }
    }

    fn update(&self, node: &mut Node) -> Result<()> {
        nodes::expect_kind(node, Kind::Scalar)?;
        let image = node.as_text().unwrap_or_default();
        if !self.matcher.matches(image) {
            return Ok(());
        }
        let image = self.image.rewrite(image);
        nodes::write_scalar(node, &untagged(&image).at(self.image.pos))
    }

    /// Rewrites the fields of the list.
    pub(crate) fn apply(&self, object: &mut Node) -> Result<()> {
        if text_at(object, &["kind"]) == "CustomResourceDefinition" {
            return Ok(());
        }
        FieldSpec::of_kind(&self.fields, object)
            .into_iter()
            .try_for_each(|field| field.write(object, None, &mut |node| self.update(node)))
    }

    /// Rewrites the images of everything that looks like a list of containers.
    fn apply_to_containers(&self, node: &mut Node) -> Result<()> {
        match &mut node.data {
            NodeData::Mapping { entries, .. } => {
                for entry in entries {
                    let containers = matches!(entry.key.as_text(), Some("containers" | "initContainers"));
                    if containers && entry.value.items().is_some() {
                        self.apply_to_list(&mut entry.value)?;
                    } else if !containers {
                        self.apply_to_containers(&mut entry.value)?;
                    }
                }
            }
            NodeData::Sequence { items, .. } => {
                for item in items {
                    self.apply_to_containers(item)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_to_list(&self, containers: &mut Node) -> Result<()> {
        for container in nodes::elements_mut(containers)? {
            if let Some(image) = container.get_mut("image").filter(|image| !is_null(image)) {
                self.update(image)?;
            }
        }
        Ok(())
    }
}

impl Transformer for ImageTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        let image = &self.image;
        for part in [&image.new_name, &image.new_tag, &image.tag_suffix, &image.digest] {
            check_name(part, "part of an image's name")?;
        }
        for resource in map.resources_mut() {
            if resource.kind() != "CustomResourceDefinition" {
                self.apply_to_containers(&mut resource.node)?;
            }
            self.apply(&mut resource.node)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        let parts = ImageParts::split("reg:5000/a/b:1@sha256:c");
        assert_eq!(
            (parts.name, parts.tag, parts.digest),
            ("reg:5000/a/b", "1", "sha256:c")
        );
        assert_eq!(ImageParts::split("reg:5000/a").tag, "");
        // Without a registry in front, what looks like a digest is one of its parts.
        let parts = ImageParts::split("@a/b:1");
        assert_eq!((parts.name, parts.tag, parts.digest), ("@a/b", "1", ""));
    }

    #[test]
    fn names_match_whole_references() {
        assert!(image_matches("nginx:1.2", "nginx"));
        assert!(!image_matches("mynginx:1.2", "nginx"));
        assert!(image_matches("a/nginx", "a/.*"));
        assert!(image_matches("a-b/nginx:1@sha256:00", "a.b/nginx"));
        assert!(!image_matches("nginx@sha512:00", "nginx"));
        assert!(!image_matches("nginx:1:2", "nginx"));
    }
}
