//! `postrider doctor`: looks at everything and says what is wrong.

use super::Show;
use crate::client::Client;
use crate::table;
use anyhow::bail;

/// Asks for the state of the installation; exit code 1 when something is wrong.
pub async fn run(client: &Client, show: Show) -> anyhow::Result<()> {
    let state = client.get("/api/v1/doctor").await?;
    let good = state["ok"].as_bool() == Some(true);
    show.print(&state, |s| {
        let rows: Vec<Vec<String>> = s["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| ["state", "name", "code", "detail"].iter().map(|f| table::long_text(c, f, 1_200)).collect())
            .collect();
        table::table(&["state", "check", "code", "detail"], &rows)
    });
    if !good {
        bail!("something needs attention: see the lines above");
    }
    Ok(())
}
