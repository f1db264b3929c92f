// The command line that paints what the page paints.

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`);

// request: as a backend takes it; contentName: of its file; options: [{name, command_line, ...}] of `describe`.
export function commandLine(request, contentName, options) {
  const styles = request.styles.map((style) => (style.file ? style.file.name : style.path));
  const words = ["ppadaattn", "paint", "--content", contentName, "--style", ...styles];
  if (request.mask || request.colours) {
    words.push("--content-mask", "mask.png", "--style-mask", ...request.colours);
  }
  if (styles.length > 1) {
    if (request.mode === "concat") words.push("--style-mode", "concat");
    else words.push("--style-weights", ...request.weights.map((weight) => String(Number(weight.toFixed(3)))));
  }
  for (const option of options) {
    const value = request.options[option.name];
    if (value === undefined || value === option.command_line) continue;
    const flag = `--${option.name.replace(/_/g, "-")}`;
    if (option.type === "boolean") value && words.push(flag);
    else words.push(flag, String(value));
  }
  if (request.model) words.push("--model", request.model);
  words.push("--output", `painted.${request.format || (request.kind === "clip" ? "mp4" : "jpg")}`);
  return words.map(quote).join(" ").replace(/ --/g, " \\\n  --");
}
