#!/usr/bin/env bash
# Puts a built book on the branch gh-pages of this copy's remote `origin`, in place of what is there.
#   bash .github/publish.sh _build/html
set -euo pipefail
html=$(cd "$1" && pwd)
test -f "$html/index.html" || { echo "$html holds no book: run make book first" >&2; exit 1; }
commit=$(git rev-parse --short HEAD)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git init -q -b gh-pages "$work"
# The branch holds the pages of today alone: the numbers' history is that of the sources.
cp -R "$html/." "$work/"
touch "$work/.nojekyll"
git -C "$work" add -A
git -C "$work" -c user.name="the book" -c user.email="book@users.noreply.github.com" \
  commit -q -m "The book of $commit"
# The checkout's own way to its remote, with whatever lets it write there.
git fetch -q "$work" gh-pages
git push -q --force origin FETCH_HEAD:refs/heads/gh-pages
echo "Published the book of $commit to the branch gh-pages."
