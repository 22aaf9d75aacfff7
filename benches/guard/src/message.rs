//! The messages that are sent, parsed, searched and written.

use bytes::Bytes;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SYNAPSE: &str = "http://ws.apache.org/ns/synapse";
/// Namespace of the orders.
pub const ORDERS: &str = "http://services.samples";

/// A SOAP 1.1 message of exactly `size` bytes with as many orders as fit, the first or the last of
/// them for IBM. `client` is the session id in its header.
pub fn message(size: usize, first: bool, client: Option<&str>) -> Bytes {
    let header = client.map_or_else(String::new, |id| {
        format!("<e:Header><syn:ClientID xmlns:syn=\"{SYNAPSE}\">{id}</syn:ClientID></e:Header>")
    });
    let head = format!(
        "<e:Envelope xmlns:e=\"{SOAP11}\">{header}<e:Body><m:placeOrder xmlns:m=\"{ORDERS}\">"
    );
    let tail = "</m:placeOrder></e:Body></e:Envelope>";
    let room = size - head.len() - tail.len() - "<!---->".len();
    let order = |n: usize, symbol: &str| {
        format!(
            "<m:order id=\"{n}\"><m:symbol>{symbol}</m:symbol><m:buyer>Acme</m:buyer><m:price>{}.25</m:price></m:order>",
            100 + n % 100
        )
    };
    let each = order(1000, "SUN").len();
    let count = room / each;
    let wanted = if first { 0 } else { count - 1 };
    let orders: String = (0..count)
        .map(|n| order(1000 + n, if n == wanted { "IBM" } else { "SUN" }))
        .collect();
    let filler = ".".repeat(room - orders.len());
    Bytes::from(format!("{head}{orders}<!--{filler}-->{tail}"))
}
