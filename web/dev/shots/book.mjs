// The page that shows the pictures: docs/screenshots/README.md.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOOKS = ["light", "dark", "phone"];
const HEAD = `# Pictures of the panel

Made by \`make screenshots\` of a real server with a made-up town (\`lanyard-server demo\`, 200 devices), of one that was made a moment
before, and of the pages in front of the panel. The same command fails when anything sticks out, is cut off or lies on something else.
Who looks is an administrator, unless it says otherwise. Pages are as tall as what they show, up to a point.
`;

/** Writes it, with every picture that is there. */
export function write(folder, chapters) {
  const lines = [HEAD];
  for (const [chapter, scenes] of Object.entries(chapters)) {
    lines.push(`## ${chapter}\n`);
    for (const { id, title } of scenes) {
      const looks = LOOKS.filter((look) => existsSync(join(folder, `${id}-${look}.webp`)));
      if (looks.length === 0) continue;
      lines.push(`### ${title}\n`);
      lines.push(`| ${looks.join(" | ")} |`, `| ${looks.map(() => "---").join(" | ")} |`);
      lines.push(`| ${looks.map((look) => `![${title}, ${look}](${id}-${look}.webp)`).join(" | ")} |\n`);
    }
  }
  writeFileSync(join(folder, "README.md"), `${lines.join("\n").trim()}\n`);
}
