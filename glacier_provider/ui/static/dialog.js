// Asking before something is done. Escape and Cancel do nothing; the keyboard stays within until then.

import { Button, C, h, Problem } from "./parts.js";

const { useId, useRef, useState } = globalThis.React;

/**
 * `act` does it, and may refuse: the dialog stays and says why. With `typed` it can only be done after this text was
 * typed, letter by letter. The focus goes back to where it was.
 */
export function Ask({ open, title, children, doIt, act, onClose, typed = null, ready = true, palette = "brand" }) {
  const field = useRef(null);
  const cancel = useRef(null);
  const [given, setGiven] = useState("");
  const { busy, error, confirm } = useAct(act, onClose);
  const may = ready && (typed === null || given.trim() === typed);
  return h(
    C.Dialog.Root,
    {
      open,
      onOpenChange: ({ open: stays }) => stays || onClose(),
      role: "alertdialog",
      placement: "center",
      lazyMount: true,
      unmountOnExit: true,
      onExitComplete: () => setGiven(""),
      initialFocusEl: () => field.current || cancel.current,
    },
    h(
      C.Portal,
      null,
      h(C.Dialog.Backdrop),
      h(
        C.Dialog.Positioner,
        { px: 3 },
        h(
          C.Dialog.Content,
          { as: "form", onSubmit: (event) => { event.preventDefault(); if (may && !busy) confirm(); } },
          h(C.Dialog.Header, null, h(C.Dialog.Title, null, title)),
          h(C.Dialog.Body, null,
            children,
            typed !== null && ready && h(Typed, { field, typed, given, setGiven }),
            h(Problem, { error, mt: 3 })),
          h(C.Dialog.Footer, null,
            h(Button, { ref: cancel, onClick: onClose }, "Cancel"),
            h(Button, { variant: "solid", colorPalette: palette, type: "submit", loading: busy, disabled: !may }, doIt)),
        ),
      ),
    ),
  );
}

function useAct(act, onDone) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await act();
      onDone();
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, confirm };
}

function Typed({ field, typed, given, setGiven }) {
  const id = useId();
  return h(
    C.Box,
    { mt: 4 },
    h(C.Text, { as: "label", htmlFor: id, fontSize: "sm", display: "block", mb: 1 }, "Type ", h("strong", null, typed), " to confirm"),
    h(C.Input, { id, ref: field, size: "sm", value: given, autoFocus: true, autoComplete: "off", spellCheck: false,
      onChange: (event) => setGiven(event.target.value) }),
  );
}
