"""The daily walk: what changed since the last one, directory by directory, without telling what stayed.

Three layers, from the cheapest to the surest. A directory whose inode and time of change are those remembered is not
read (only on a local disk, and only where sizes need no look). One that is read is compared by a digest of its names,
and sizes. Only of one that differs are the files told. See docs/adr/0017.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import compress, islice
from zlib import crc32

from glacier_provider.core.archive import name_to_bytes
from glacier_provider.core.directories import Change, Changed, Files, Listing
from glacier_provider.files.mounts import Mounts
from glacier_provider.files.names import TEMPORARY, text_of
from glacier_provider.files.root import NOFOLLOW_DIRECTORY, AnyPath, Root
from glacier_provider.files.walk import (
    Exclusion,
    OnSkip,
    check_same,
    identities,
    identity,
    kept_mtime,
    report_special,
    unreadable,
)

#: Entries of a directory that are held at once; a larger directory is read in pieces, twice where that is needed.
PIECE = 10_000
#: A time of change younger than this may stay the same when the directory changes again (as git's racy index).
SETTLED_NS = 2_000_000_000

DIGEST_BYTES = 16
LARGEST = 0x7FFF_FFFF_FFFF_FFFF  # of the catalog's integers
#: Changes when digests or rules mean something else than before: what was remembered is then not believed.
FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How closely a walk looks.

    `size_check`: "always" looks at every file's size; "sample" on each of `days` days at another part of the
    directories; "never" only at the sizes of files in directories that changed. With `trust` a directory of a local
    disk that did not change is not read. `day` is any number that grows by one each day.
    """

    size_check: str = "always"
    trust: bool = True
    day: int = 0
    days: int = 7
    settled_ns: int = SETTLED_NS

    def at_sizes(self, directory: str) -> bool:
        """Whether the sizes in this directory are looked at."""
        if self.size_check == "sample":
            return (crc32(directory.encode()) + self.day) % self.days == 0
        return self.size_check == "always"


class DirectoryWalk:
    """One walk. `files` and `bytes` are, once `changes` has ended, those of the whole directory tree."""

    def __init__(
        self,
        root: AnyPath,
        *,
        on_skip: OnSkip,
        exclude: Iterable[str] = (),
        leave_out: Iterable[AnyPath] = (),
        look: Look | None = None,
    ) -> None:
        self.files = 0
        self.bytes = 0
        self._path = root
        self._on_skip = on_skip
        self._patterns = tuple(exclude)
        exclusion = Exclusion(self._patterns) if self._patterns else None
        self._excluded_file = exclusion.file if exclusion else None
        self._excluded_directory = exclusion.directory if exclusion else None
        self._left_out = identities(leave_out)
        self._look = look or Look()
        self._mounts = Mounts()
        self._stack: list[_Frame] = []

    @property
    def rules(self) -> str:
        """A digest of everything that decides which files a walk tells; another one makes old listings worthless."""
        told = repr((FORMAT, os.fspath(self._path), self._patterns, sorted(self._left_out)))
        return sha256(told.encode("utf-8", "surrogateescape")).hexdigest()

    def changes(self, remembered: Iterable[Listing]) -> Iterator[Files | Changed]:
        """Yield what is not as remembered: the files of each directory that differs, then the directory itself.

        `remembered` are listings of a walk with the same `rules`, ordered by directory (code points). Memory does
        not depend on the number of files, nor on that of directories unless one holds them all. Raise
        DirectoryUnusable as `walk` does.
        """
        known = _Remembered(remembered)
        with Root(self._path) as root:
            try:
                yield from self._visit(root, _ABOVE, "", "", known)
                while self._stack:
                    yield from self._go_on(root, self._stack[-1], known)
                yield from known.gone("")
            except OSError as exc:
                place = self._stack[-1].prefix if self._stack else ""
                raise unreadable(exc, root, place) from exc
            finally:
                while self._stack:
                    self._stack.pop().close()
            check_same(root)

    # --- from directory to directory ---

    def _go_on(self, root: Root, frame: _Frame, known: _Remembered) -> Iterator[Files | Changed]:
        """Visit what is left of a directory's subdirectories up to the first that has some itself."""
        prefix = frame.prefix
        if frame.children is None:  # not read: its subdirectories are those remembered
            while known.is_below(prefix):
                yield from self._visit(root, frame, "", known.ahead_directory, known)
                if self._stack[-1] is not frame:
                    return
        else:
            for text, entry_name in frame.children:
                directory = f"{prefix}{text}/"
                if known.is_before(directory, prefix):
                    yield from known.gone(prefix, before=directory)
                yield from self._visit(root, frame, entry_name, directory, known)
                if self._stack[-1] is not frame:
                    return
            yield from known.gone(prefix)
        self._stack.pop().close()

    def _visit(
        self, root: Root, parent: _Frame, entry_name: str, directory: str, known: _Remembered
    ) -> Iterable[Files | Changed]:
        """Return what is to be told of one directory; put it on the stack when it may have subdirectories."""
        listing = known.take(directory)
        if listing is not None and self._is_as_remembered(root, parent, entry_name, listing):
            self.files += listing.files
            self.bytes += listing.size
            if known.is_below(directory):
                self._stack.append(_Frame(directory, -1, None))
            return ()
        fd = self._open(root, parent, entry_name, directory)
        if fd is None:
            return () if listing is None else (Changed(Change.GONE, listing),)
        return self._read(fd, directory, listing, known)

    def _is_as_remembered(self, root: Root, parent: _Frame, entry_name: str, listing: Listing) -> bool:
        """Whether a directory need not be read: the same inode, not changed since it was."""
        if listing.changed_ns is None or listing.names is None or not self._look.trust:
            return False
        directory = listing.directory
        if self._look.at_sizes(directory):
            return False
        try:
            if not directory:
                info = os.fstat(root.fd)
            elif parent.fd >= 0 and entry_name:
                info = os.stat(entry_name, dir_fd=parent.fd, follow_symlinks=False)
            else:
                info = os.stat(name_to_bytes(directory[:-1]), dir_fd=root.fd, follow_symlinks=False)
        except OSError:
            return False  # opening it will tell
        return (
            info.st_ctime_ns == listing.changed_ns
            and info.st_ino & LARGEST == listing.inode
            and stat.S_ISDIR(info.st_mode)
            and self._mounts.is_local(info.st_dev)
            and (not self._left_out or identity(info) not in self._left_out)
        )

    def _open(self, root: Root, parent: _Frame, entry_name: str, directory: str) -> int | None:
        """Return a descriptor of a directory; None when it is left out, gone, or something else by now."""
        try:
            if not directory:
                return os.dup(root.fd)
            if parent.fd >= 0 and entry_name:
                fd = os.open(entry_name, NOFOLLOW_DIRECTORY, dir_fd=parent.fd)
            else:
                fd = _descend(root, directory)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise unreadable(exc, root, directory) from exc
            self._on_skip(directory[:-1], "it was a directory and is something else now")
            return None
        if self._left_out and identity(os.fstat(fd)) in self._left_out:
            os.close(fd)
            return None
        return fd

    # --- within a directory ---

    def _read(self, fd: int, directory: str, listing: Listing | None, known: _Remembered) -> Iterable[Files | Changed]:
        """Return what is to be told of an open directory; put it on the stack when it may have subdirectories."""
        frame = _Frame(directory, fd, None)
        self._stack.append(frame)  # closes it, whatever happens
        info, now_ns = os.fstat(fd), time.time_ns()
        piece = _Piece(directory, self._excluded_file)
        if piece.read(os.scandir(fd)):
            return self._told(frame, listing, self._read_large(frame, piece, listing, info), info, now_ns)
        if listing is None or not self._is_equal(piece, listing):
            return self._told(frame, listing, self._read_small(piece), info, now_ns)
        complete = not piece.others or self._find_children(frame, piece.others)
        self.files += listing.files
        self.bytes += listing.size
        if frame.children is None and not known.is_below(directory):
            self._stack.pop().close()
        elif frame.children is None:
            frame.children = iter(())
        if complete and listing.changed_ns == info.st_ctime_ns and listing.inode == info.st_ino & LARGEST:
            return ()
        return self._touched(listing, self._stamp(info, now_ns) if complete else (None, None))

    def _is_equal(self, piece: _Piece, listing: Listing) -> bool:
        """Whether a directory that is held as a whole has the listing's files; sizes count where they are looked at."""
        if piece.digest() != listing.names:
            return False
        return not self._look.at_sizes(listing.directory) or (
            piece.digest_of_sizes() == listing.sizes and piece.digest() == listing.names  # none vanished meanwhile
        )

    @staticmethod
    def _touched(listing: Listing, stamp: tuple[int | None, int | None]) -> Iterable[Changed]:
        if stamp == (listing.inode, listing.changed_ns):
            return ()
        return (Changed(Change.TOUCHED, listing._replace(inode=stamp[0], changed_ns=stamp[1])),)

    def _told(
        self,
        frame: _Frame,
        listing: Listing | None,
        read: Generator[Files | Changed, None, _Contents],
        info: os.stat_result,
        now_ns: int,
    ) -> Iterator[Files | Changed]:
        contents = yield from read
        complete = self._find_children(frame, contents.others)
        if frame.children is None:
            frame.children = iter(())
        stamp = self._stamp(info, now_ns) if complete else (None, None)
        self.files += contents.files
        self.bytes += contents.bytes
        if contents.differs or listing is None:
            names, sizes = contents.digests()
            found = Listing(frame.prefix, contents.files, contents.bytes, names, sizes, *stamp)
            yield Changed(Change.DIFFERENT, found)
        else:
            yield from self._touched(listing, stamp)

    @staticmethod
    def _read_small(piece: _Piece) -> Generator[Files | Changed, None, _Contents]:
        contents = _Contents(True)
        contents.differs = True
        contents.add(piece)
        yield piece.files()
        return contents

    def _read_large(
        self, frame: _Frame, piece: _Piece, listing: Listing | None, info: os.stat_result
    ) -> Generator[Files | Changed, None, _Contents]:
        """The same in pieces: first compared, and told in a second pass, unless its time says that it changed."""
        likely = listing is not None and listing.changed_ns in (None, info.st_ctime_ns)
        if listing is not None and listing.names is not None and likely:
            contents = _Contents(self._look.at_sizes(frame.prefix))
            contents.add(piece)
            while piece.read_more():
                contents.add(piece)
            if contents.equal(listing):
                return contents
            piece.read(os.scandir(frame.fd))
        contents = _Contents(True)
        contents.differs = True
        while True:
            contents.add(piece)
            yield piece.files()
            if not piece.read_more():
                return contents

    def _stamp(self, info: os.stat_result, now_ns: int) -> tuple[int | None, int | None]:
        """Return inode and time of change, or nothing where a later change might not show in them."""
        settled = info.st_ctime_ns + self._look.settled_ns < now_ns
        if settled and self._mounts.is_local(info.st_dev):
            return info.st_ino & LARGEST, info.st_ctime_ns
        return None, None

    def _find_children(self, frame: _Frame, others: list[os.DirEntry[str]]) -> bool:
        """Note the subdirectories among entries that are no files, report the others; whether there were no others."""
        children: list[tuple[str, str, str]] = []
        complete, excluded = True, self._excluded_directory
        for entry in others:
            text = text_of(entry.name)
            if entry.name == TEMPORARY or (excluded is not None and excluded(frame.prefix + text)):
                continue
            if entry.is_dir(follow_symlinks=False):
                children.append((f"{text}/", text, entry.name))
            else:
                complete = False
                report_special(entry, frame.prefix + text, self._on_skip)
        if children:
            children.sort()
            frame.children = iter([(text, name) for _, text, name in children])
        return complete


class _Frame:
    """A directory on the way. `fd` is -1 and `children` None when it was not read."""

    __slots__ = ("children", "fd", "prefix")

    def __init__(self, prefix: str, fd: int, children: Iterator[tuple[str, str]] | None) -> None:
        self.prefix = prefix
        self.fd = fd
        self.children = children

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


_ABOVE = _Frame("", -1, None)


class _Piece:
    """Some entries of a directory: the files among them by catalog name, and what is no file."""

    __slots__ = ("_entries", "_excluded", "_files", "_prefix", "inodes", "mtimes", "names", "others", "sizes", "text")

    def __init__(self, prefix: str, excluded: Callable[[str], object] | None) -> None:
        self._prefix = prefix
        self._excluded = excluded

    def read(self, entries: Iterator[os.DirEntry[str]]) -> bool:
        """Read the first piece; return whether there may be more."""
        self._entries = entries
        self.sizes: list[int] | None = None
        found = list(islice(entries, PIECE))
        files = [entry for entry in found if entry.is_file(follow_symlinks=False)]
        self.others = [] if len(files) == len(found) else [e for e in found if not e.is_file(follow_symlinks=False)]
        self._hold(files, [entry.name for entry in files])
        if not self.text.isascii() or "\\" in self.text:
            self._hold(files, [text_of(name) for name in self.names])
        if (excluded := self._excluded) is not None:
            self._keep([not excluded(self._prefix + name) for name in self.names])
        return len(found) == PIECE

    def read_more(self) -> bool:
        """Read the next piece; return whether there was one."""
        self.read(self._entries)
        return bool(self.names or self.others)

    def digest(self) -> bytes:
        """Return the digest of names of a directory that is one piece."""
        return sha256(f"{self.text}\0".encode() if self.names else b"").digest()[:DIGEST_BYTES]

    def digest_of_sizes(self) -> bytes:
        contents = _Contents(True)
        contents.add(self)
        return contents.digests()[1]

    def files(self) -> Files:
        """Return the files of this piece as a walk tells them."""
        sizes = self.look_at_sizes()
        return Files(self._prefix, self.names, sizes, self.mtimes, self.inodes)

    def look_at_sizes(self) -> list[int]:
        """Return the size of each file, and hold its time and inode. What vanished meanwhile is not there."""
        if self.sizes is None:
            try:
                looked = [entry.stat(follow_symlinks=False) for entry in self._files]
            except FileNotFoundError:
                self._keep([_exists(entry) for entry in self._files])
                looked = [entry.stat(follow_symlinks=False) for entry in self._files]  # known by now
            self.sizes = [info.st_size for info in looked]
            self.mtimes = [info.st_mtime_ns for info in looked]
            if looked and not -LARGEST <= min(self.mtimes) <= max(self.mtimes) <= LARGEST:
                self.mtimes = list(map(kept_mtime, self.mtimes))
            self.inodes = [info.st_ino & LARGEST for info in looked]
        return self.sizes

    def _keep(self, kept: list[bool]) -> None:
        if not all(kept):
            self._hold(list(compress(self._files, kept)), list(compress(self.names, kept)))

    def _hold(self, files: list[os.DirEntry[str]], names: list[str]) -> None:
        self._files = files
        self.names = names
        self.text = "\0".join(names)


def _exists(entry: os.DirEntry[str]) -> bool:
    try:
        entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class _Contents:
    """What a directory holds, as digests that do not depend on the pieces in which it was read."""

    __slots__ = ("_at_sizes", "_inodes", "_mtimes", "_names", "_sizes", "bytes", "differs", "files", "others")

    def __init__(self, at_sizes: bool) -> None:
        self.files = 0
        self.bytes = 0
        self.differs = False
        self.others: list[os.DirEntry[str]] = []
        self._at_sizes = at_sizes
        self._names = sha256()
        self._sizes, self._mtimes, self._inodes = sha256(), sha256(), sha256()

    def add(self, piece: _Piece) -> None:
        if self._at_sizes and piece.names:
            sizes = piece.look_at_sizes()
            self.bytes += sum(sizes)
            self._sizes.update(array("q", sizes))
            self._mtimes.update(array("q", piece.mtimes))
            self._inodes.update(array("q", piece.inodes))
        if piece.names:
            self.files += len(piece.names)
            self._names.update(f"{piece.text}\0".encode())
        self.others += piece.others

    def digests(self) -> tuple[bytes, bytes]:
        looked = self._sizes.digest() + self._mtimes.digest() + self._inodes.digest()
        return self._names.digest()[:DIGEST_BYTES], sha256(looked).digest()[:DIGEST_BYTES]

    def equal(self, listing: Listing) -> bool:
        """Whether these are the files of the listing; their sizes count if they were looked at."""
        names, sizes = self.digests()
        if names != listing.names or (self._at_sizes and sizes != listing.sizes):
            return False
        self.bytes = listing.size
        return True


class _Remembered:
    """The listings in their order, one looked ahead."""

    __slots__ = ("_ahead", "_listings", "ahead_directory")

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._listings = iter(listings)
        self._step()

    def _step(self) -> None:
        self._ahead: Listing | None = next(self._listings, None)
        self.ahead_directory = "" if self._ahead is None else self._ahead.directory

    def take(self, directory: str) -> Listing | None:
        """Return the listing of this directory when it is the next one."""
        if self.ahead_directory != directory:
            return None
        ahead = self._ahead
        self._step()
        return ahead

    def is_below(self, prefix: str) -> bool:
        """Whether the next listing is of a directory below this one."""
        return self._ahead is not None and self.ahead_directory.startswith(prefix)

    def is_before(self, directory: str, prefix: str) -> bool:
        return self.ahead_directory < directory and self.is_below(prefix)

    def gone(self, prefix: str, *, before: str | None = None) -> Iterator[Changed]:
        """Yield the listings of directories below `prefix` that come next (before another one): nothing is there."""
        while self.is_below(prefix) and (before is None or self.ahead_directory < before):
            if self._ahead is not None:
                yield Changed(Change.GONE, self._ahead)
            self._step()


def _descend(root: Root, directory: str) -> int:
    """Return a descriptor of a directory by its whole name, no component of it being a link."""
    with root.parent((*name_to_bytes(directory).split(b"/")[:-1], b"")) as fd:
        return os.dup(fd)
