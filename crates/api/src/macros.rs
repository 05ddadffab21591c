//! Declarations of records, closed sets of words and kinds, so that each says only what is its own.

/// A serde struct in camelCase. Required fields must be present on input and are always written;
/// optional ones default, and are left out of the output when blank (see [`crate::meta::Blank`]).
macro_rules! record {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( required { $( $(#[$rmeta:meta])* $rfield:ident : $rtype:ty, )* } )?
            $( optional { $( $(#[$ometa:meta])* $ofield:ident : $otype:ty, )* } )?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($( $(#[$rmeta])* pub $rfield: $rtype, )*)?
            $($(
                $(#[$ometa])*
                #[serde(default, skip_serializing_if = "crate::meta::Blank::blank")]
                pub $ofield: $otype,
            )*)?
        }
    };
}

/// A closed set of words, as an enum of the same names; the first is the default.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $(#[$dmeta:meta])* $default:ident = $dtext:literal, $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[$dmeta])* #[default] #[serde(rename = $dtext)] $default,
            $( $(#[$vmeta])* #[serde(rename = $text)] $variant, )*
        }

        impl $name {
            /// The word as it is written in manifests.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { Self::$default => $dtext, $( Self::$variant => $text, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::meta::Blank for $name {
            fn blank(&self) -> bool {
                *self == Self::default()
            }
        }
    };
}

/// A kind: metadata, spec, status.
macro_rules! resource {
    (
        $(#[$meta:meta])*
        $name:ident { spec: $spec:ty, status: $status:ty, group: $group:literal, version: $version:literal, plural: $plural:literal }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// Names, labels and the server's own fields.
            pub metadata: crate::Metadata,
            /// What is wanted.
            pub spec: $spec,
            /// What was observed last.
            pub status: $status,
        }

        impl $name {
            /// API group.
            pub const GROUP: &str = $group;
            /// Served and stored version.
            pub const VERSION: &str = $version;
            /// Kind.
            pub const KIND: &str = stringify!($name);
            /// Plural name, as in URLs.
            pub const PLURAL: &str = $plural;
        }

        impl crate::Resource for $name {
            type Spec = $spec;
            type Status = $status;
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;

            fn new(metadata: crate::Metadata, spec: $spec, status: $status) -> Self {
                $name { metadata, spec, status }
            }

            fn metadata(&self) -> &crate::Metadata {
                &self.metadata
            }

            fn spec(&self) -> &$spec {
                &self.spec
            }

            fn status(&self) -> &$status {
                &self.status
            }
        }
    };
}
