//! What the manual says of each function that scripts can call; `manual_tests` holds it to what is
//! registered, and runs the examples.

/// A function, or several of one purpose.
pub struct Function {
    /// Heading it stands under.
    pub of: &'static str,
    /// How it is called.
    pub signatures: &'static [&'static str],
    /// Type of what it gives; `()` for nothing.
    pub gives: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// A statement that runs in a hook of flows or of hosts.
    pub example: &'static str,
}

const fn function(
    of: &'static str,
    signatures: &'static [&'static str],
    gives: &'static str,
    doc: &'static str,
    example: &'static str,
) -> Function {
    Function { of, signatures, gives, doc, example }
}

const ALERTS: &str = "Alerts";
const STATUS: &str = "Status of a flow";
const OUTPUT: &str = "Output";
const NUMBERS: &str = "Numbers and memory of the script's own";
const TOOLS: &str = "Tools";

/// Every function, in order of the manual.
pub const FUNCTIONS: &[Function] = &[
    function(
        ALERTS,
        &["trigger_alert(map)"],
        "()",
        "Element scripts: engages an alert, or updates it while it is engaged. Flow scripts: stores one, once per flow and type. Keys of the map, all optional: `type`, `severity`, `category`, `score`, `message`, `value`, `threshold`, `metric`, `attacker`, `victim`.",
        "trigger_alert(#{ message: `much from ${params.entity_info}`, value: params.delta.bytes })",
    ),
    function(
        ALERTS,
        &["keep_alert(map)"],
        "()",
        "Element scripts: updates the alert and keeps it while it is engaged; engages none.",
        "keep_alert(#{ value: params.delta.bytes })",
    ),
    function(
        ALERTS,
        &["release_alert()", "release_alert(type)"],
        "()",
        "Releases the script's alert (of this type); a run that no longer triggers it releases it too.",
        "release_alert(\"threshold_cross\")",
    ),
    function(
        ALERTS,
        &["store_alert(map)"],
        "()",
        "A one-shot alert.",
        "store_alert(#{ severity: \"notice\", message: `${flow.label} is over` })",
    ),
    function(
        ALERTS,
        &["check_threshold(params, value, metric)"],
        "bool",
        "Triggers `threshold_cross` when the value is over (`operator: \"gt\"`) or under (`\"lt\"`) the configuration's `threshold`, else releases it; true when crossed. With `clear_threshold` an engaged alert stays until the value has passed that one too.",
        "check_threshold(params, params.delta.bytes, \"bytes\")",
    ),
    function(
        STATUS,
        &["flow.set_status(name)"],
        "()",
        "Sets a status bit of the flow; names as in `flow.status_names`, `user_59` to `user_63` are yours.",
        "flow.set_status(\"user_60\")",
    ),
    function(STATUS, &["flow.clear_status(name)"], "()", "Clears one.", "flow.clear_status(\"user_60\")"),
    function(
        STATUS,
        &["flow.is_status_set(name)"],
        "bool",
        "True when it is set.",
        "let old = flow.is_status_set(\"obsolete_tls\")",
    ),
    function(
        STATUS,
        &["flow.trigger_alert(score, message)"],
        "()",
        "Stores an alert on the flow with a score from 0 to 250 and more.",
        "flow.trigger_alert(100, `${flow.cli} is odd`)",
    ),
    function(
        OUTPUT,
        &["http_post(url, body)"],
        "()",
        "Sends the body, durably and with retries; as JSON when it begins with `{` or `[`.",
        "http_post(\"https://example.com\", to_json(#{ host: params.entity_info }))",
    ),
    function(
        OUTPUT,
        &["publish(subject, text)"],
        "()",
        "Publishes on the bus under `sc.v1.<site>.`.",
        "publish(\"hosts.seen\", `${params.entity_info}`)",
    ),
    function(
        OUTPUT,
        &["log(value)", "log_warn(value)", "log_debug(value)"],
        "()",
        "Writes a log line.",
        "log(1); log_warn(`odd: ${params.entity_info}`); log_debug(params.delta.bytes)",
    ),
    function(
        NUMBERS,
        &["count(name)", "count(name, n)"],
        "()",
        "Adds 1 (or `n`) to a counter of the script's own; the time series of the element shows it as `<script>.<name>`, metrics show its sum.",
        "count(\"odd\"); count(\"bytes\", params.delta.bytes)",
    ),
    function(
        NUMBERS,
        &["series(name, value)"],
        "()",
        "Notes a level: the time series shows the mean of each period.",
        "series(\"load\", 0.5)",
    ),
    function(
        NUMBERS,
        &["remember(key, value)"],
        "()",
        "Element scripts: keeps a value under a key, also over a restart; each script has `scripts.limits.max_remembered_bytes` on each interface.",
        "remember(\"last\", params.when)",
    ),
    function(
        NUMBERS,
        &["recall(key)"],
        "value",
        "The value, `()` when there is none.",
        "let last = recall(\"last\")",
    ),
    function(NUMBERS, &["forget(key)"], "()", "Removes it.", "forget(\"last\")"),
    function(TOOLS, &["now()"], "int", "Event time, seconds since the epoch.", "let at = now()"),
    function(
        TOOLS,
        &["to_json(value)", "parse_json(text)"],
        "text, value",
        "To JSON and from it.",
        "let copy = parse_json(to_json(#{ a: 1 }))",
    ),
    function(
        TOOLS,
        &["ip_in(ip, prefix)", "ip_in(ip, [prefix, …])"],
        "bool",
        "Whether the address is under a prefix.",
        "let inside = ip_in(flow.cli, [\"10.0.0.0/8\", \"fd00::/8\"])",
    ),
    function(
        TOOLS,
        &["is_private(ip)"],
        "bool",
        "Whether the address is private, link-local or loopback.",
        "let inside = is_private(flow.srv)",
    ),
    function(
        TOOLS,
        &["in_list(list, entry)"],
        "bool",
        "Whether the address or name is on the list (`scripts.lists`); a name is when it, or a domain above it, is; false when there is no such list.",
        "let bad = in_list(\"blacklist\", flow.srv)",
    ),
    function(
        TOOLS,
        &["has_list(list)"],
        "bool",
        "Whether there is a list of that name.",
        "let known = has_list(\"blacklist\")",
    ),
    function(
        TOOLS,
        &["format_bytes(n)"],
        "text",
        "`1.08 MB`; powers of 1024.",
        "log(format_bytes(flow.bytes))",
    ),
    function(
        TOOLS,
        &["replace(what, by)", "split(at)", "split_rev(at)"],
        "(), list, list",
        "Rhai's methods of texts, held to the limits on sizes.",
        "let text = \"a-b\"; text.replace(\"-\", \",\"); let parts = text.split(\",\"); parts = text.split_rev(\",\")",
    ),
];
