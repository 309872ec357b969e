// Lists that grow: asked for page by page until there is enough to see, and on when more is wanted.
// One answer may be short, or empty, and still not be the last: a search looks through so many archives at a time.

import { get } from "./api.js";
import * as form from "./format.js";
import { Button, C, h, Problem, Small, Waiting } from "./parts.js";

const { useEffect, useState } = globalThis.React;
const ENOUGH = 50;
const NOTHING = { rows: [], searched: 0, next: 0, first: null, error: null };

/** `path(after)` gives the address of the rows after `after`, null when nothing is to be asked. */
export function useMore(path) {
  const key = path(0);
  const [state, setState] = useState({ key: null, ...NOTHING });
  const [wish, setWish] = useState({ key, wanted: ENOUGH });
  const found = state.key === key ? state : { key, ...NOTHING };
  const wanted = wish.key === key ? wish.wanted : ENOUGH;
  const asking = key !== null && found.next !== null && found.rows.length < wanted && !found.error;
  useEffect(() => {
    if (!asking) return undefined;
    const control = new AbortController();
    get(path(found.next), control.signal).then(
      (page) => setState({
        key,
        rows: [...found.rows, ...page.files],
        searched: found.searched + (page.searched || 0),
        next: page.next,
        first: found.first || page,
        error: null,
      }),
      (error) => control.signal.aborted || setState({ ...found, error }),
    );
    return () => control.abort();
  }, [key, asking, found.next]);
  const more = () => {
    setState({ ...found, error: null });
    setWish({ key, wanted: found.rows.length + ENOUGH });
  };
  return { ...found, asking, more: found.next !== null && key !== null && !asking ? more : null };
}

/** What a growing list says of itself, below its rows. */
export function Growing({ found }) {
  const { asking, searched, rows, error, more } = found;
  return h(
    C.VStack,
    { align: "stretch", gap: 2 },
    h(Problem, { error }),
    asking && rows.length === 0 && searched === 0 && h(Waiting),
    asking && searched > 0 &&
      h(Small, { role: "status" }, `Looked through ${form.plural(searched, "archive")} so far, and going on …`),
    more && h(Button, { onClick: more, alignSelf: "flex-start" }, error ? "Try again" : "Show more"),
  );
}
