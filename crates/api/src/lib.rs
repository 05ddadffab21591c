//! The custom resources that Fluvial serves: types, versions, definitions.
//!
//! Each kind is a [`Resource`] with typed spec and status, read from an object with
//! [`Resource::from_value`]. [`definitions`] are the CustomResourceDefinitions, [`kinds`] the table of
//! names. Manifests of removed API versions become current ones with [`convert::to_current`].

#[macro_use]
mod macros;

pub mod convert;
mod definitions;
pub mod duration;
pub mod extensions;
pub mod helm;
pub mod image;
pub mod keys;
pub mod kinds;
pub mod kustomize;
pub mod meta;
pub mod notification;
mod resource;
pub mod source;

pub use definitions::{current_definition, definitions, published};
pub use duration::Duration;
pub use extensions::ArtifactGenerator;
pub use helm::HelmRelease;
pub use image::{ImagePolicy, ImageRepository, ImageUpdateAutomation};
pub use kinds::{KindInfo, kind};
pub use kustomize::Kustomization;
pub use meta::{Condition, Metadata};
pub use notification::{Alert, Provider, Receiver};
pub use resource::{Error, Resource};
pub use source::{Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};
