//! The environment's overrides: `LANYARD_SERVER_<TABLE>_<KEY>`.

use toml::{Table, Value};

use super::ENV_PREFIX;
use crate::problem::Problem;

/// Puts one variable of the environment into the table.
pub(super) fn apply(table: &mut Table, known: &Table, variable: &str, value: &str) -> Result<(), Problem> {
    let name = variable.trim_start_matches(ENV_PREFIX).to_ascii_lowercase();
    let target = known.iter().find_map(|(section, keys)| {
        let key = name.strip_prefix(section.as_str())?.strip_prefix('_')?;
        keys.get(key).map(|default| (section, key.to_owned(), default))
    });
    let Some((section, key, default)) = target else {
        let text = format!(
            "{variable} is set in the environment but is no setting: unset it, or see \
             docs/examples/lanyard-server.toml for the names"
        );
        return Err(Problem::new("config.unknown_key", text));
    };
    let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(keys) = entry {
        keys.insert(key, env_value(default, value));
    }
    Ok(())
}

/// Reads a variable: as TOML where that gives the wanted type, as plain text otherwise; lists may be `a,b`.
fn env_value(default: &Value, text: &str) -> Value {
    if let Ok(mut parsed) = toml::from_str::<Table>(&format!("value = {text}"))
        && let Some(value) = parsed.remove("value")
        && value.same_type(default)
    {
        return value;
    }
    if default.is_array() {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        return Value::Array(
            items.map(|item| item.parse().map_or_else(|_| item.into(), Value::Integer)).collect(),
        );
    }
    Value::String(text.to_owned())
}
