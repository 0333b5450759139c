# Definitions of jq that jaq does not have, or that we bound or word differently. They come after jaq's own.
def flatten($d): __deep(4; if $d > 0 then map(if isarray then flatten($d-1) else [.] end) | add // [] end);
def flatten: [recurse(arrays[]) | select(isarray | not)];
def leaf_paths: paths(scalars);
def toarray: if isarray then . else [.] end;
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] = $row);
def INDEX(f): INDEX(.[]; f);
def ascii: [.] | implode;
def tonumber: if isnumber then . else fromjson | if isnumber then . else error("cannot parse as number") end end;
