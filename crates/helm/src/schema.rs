//! Values against the charts' `values.schema.json`.

use fluvial_template::Map;

use crate::dependencies::Member;
use crate::error::Error;

pub(crate) fn validate(_root: &Member, _values: &Map) -> Result<(), Error> {
    Ok(())
}
