//! The conditions of a query, put together from fixed text; values are only ever bound.

use tokio_postgres::types::ToSql;

use super::pool::Connection;
use crate::store::StoreError;

type Value = Box<dyn ToSql + Sync + Send>;

/// Conditions joined by AND, and the values of their parameters.
#[derive(Default)]
pub(super) struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    /// Adds `condition`, in which `$?` is the value, unless there is no value for it.
    pub fn and(&mut self, condition: &'static str, value: Option<impl ToSql + Sync + Send + 'static>) {
        if let Some(value) = value {
            let place = self.bind(value);
            self.conditions.push(condition.replace("$?", &place));
        }
    }

    /// Binds a value that the statement uses outside of the conditions; gives its place, `$n`.
    pub fn bind(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    /// The text after WHERE.
    pub fn text(&self) -> String {
        if self.conditions.is_empty() { "TRUE".to_owned() } else { self.conditions.join(" AND ") }
    }

    /// The values, in order.
    pub fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
    }

    /// Runs `sql`, made with [`Filter::text`], which changes rows; tells how many.
    pub async fn execute(&self, connection: &Connection, sql: &str) -> Result<u64, StoreError> {
        Ok(connection.execute(sql, &self.values()).await?)
    }

    /// Runs `sql`, made with [`Filter::text`], and gives its rows.
    pub async fn query(
        &self,
        connection: &Connection,
        sql: &str,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        Ok(connection.query(sql, &self.values()).await?)
    }
}
