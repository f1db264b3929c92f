// Shows openapi.json to readers.

const element = (name, text = "", ...children) => {
  const made = Object.assign(document.createElement(name), { textContent: text });
  made.append(...children);
  return made;
};

const row = (first, second) => element("tr", "", element("td", first), element("td", second));

function kindOf(schema) {
  const kind = schema.enum ? schema.enum.join(" | ") : schema.type === "array" ? `list of ${kindOf(schema.items)}` : schema.type;
  return kind + (schema.nullable ? " or null" : "");
}

function table(schema) {
  const rows = [];
  for (const [name, property] of Object.entries(schema.properties)) {
    const fallback = property.default === undefined ? "" : ` Default: ${property.default}.`;
    rows.push(row(name, `${kindOf(property)}${property.description ? `: ${property.description}` : ""}.${fallback}`));
    for (const [inner, value] of Object.entries(property.properties || {})) {
      const own = value.default === undefined ? "" : ` Default: ${value.default}.`;
      rows.push(row(`${name}.${inner}`, `${kindOf(value)}: ${value.description}.${own}`));
    }
  }
  return element("table", "", ...rows);
}

function operation(method, path, { summary, description, responses }) {
  const title = element("h3", "", element("b", method.toUpperCase()), path);
  const rows = Object.entries(responses).map(([status, response]) => row(status, response.description));
  return [title, element("p", summary + "."), ...(description ? [element("p", description)] : []), element("table", "", ...rows)];
}

const api = await (await fetch("openapi.json")).json();
const parts = [element("p", api.info.description), element("h2", "Requests")];
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, about] of Object.entries(methods)) parts.push(...operation(method, path, about));
}
for (const [name, schema] of Object.entries(api.components.schemas)) parts.push(element("h2", name), table(schema));
document.getElementById("document").append(...parts);
