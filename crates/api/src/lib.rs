//! The custom resources that Fluvial serves: types, versions, definitions.
