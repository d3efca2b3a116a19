//! The conditions of a query, put together from fixed text; values are only ever bound.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, ToSql};

use crate::store::StoreError;

/// Conditions joined by AND, and the values of their named parameters.
#[derive(Default)]
pub(super) struct Filter {
    conditions: Vec<&'static str>,
    values: Vec<(&'static str, Value)>,
}

impl Filter {
    /// Adds `condition`, which uses the parameter `name`, unless there is no value for it.
    pub fn and(&mut self, condition: &'static str, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.conditions.push(condition);
            self.values.push((name, value.into()));
        }
    }

    /// Gives a parameter that the statement uses outside of the conditions its value.
    pub fn bind(&mut self, name: &'static str, value: impl Into<Value>) {
        self.values.push((name, value.into()));
    }

    /// The text after WHERE.
    pub fn text(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }

    /// Runs `sql`, made with [`Filter::text`], which changes rows; tells how many.
    pub fn execute(&self, conn: &Connection, sql: &str) -> Result<usize, StoreError> {
        let mut statement = conn.prepare_cached(sql)?;
        let values: Vec<(&str, &dyn ToSql)> =
            self.values.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect();
        Ok(statement.execute(values.as_slice())?)
    }

    /// Runs `sql`, made with [`Filter::text`], and reads its rows.
    pub fn query<T>(
        &self,
        conn: &Connection,
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = conn.prepare_cached(sql)?;
        let values: Vec<(&str, &dyn ToSql)> =
            self.values.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect();
        let mut rows = statement.query(values.as_slice())?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            items.push(read(row)?);
        }
        Ok(items)
    }
}
