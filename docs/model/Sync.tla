-------------------------------- MODULE Sync --------------------------------
(* What is in a sync: which conversations, up to where, with which marks, and  *)
(* the token from which the next one goes on.                                  *)
(*                                                                              *)
(* One user with two devices; conversations with one message each from a peer,  *)
(* the peer's read mark, the user's own. That a push finds a standing           *)
(* connection is Push's part: here a commit and its pushes are one step.        *)
(* Rules R4a, R4b, R4c, R7, R8; promises G5, G7 and G8.                         *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS Devices, Convs, Reads,      \* Reads: the conversations in which the user and the peer read
          MaxConn, Budget, Kinds,
          \* The rules that a configuration may take away:
          Margin,       \* a token is older than whatever transaction may still be open               (R4c)
          First,        \* its time is taken before its sync reads                                    (R4c)
          Pinned,       \* it is below the stamp of a conversation in which the device lacks something (R4c)
          StampMarks,   \* a mark that rises stamps the rows, as a message does                       (R4c)
          Own,          \* a sync gives what is above the device's own cursor, not the user's mark    (G5)
          Bound,        \* a token counts for the device that it was made for                         (R4c)
          Numbered,     \* a page belongs to one connection; others drop it                           (R4b)
          AskAgain,     \* a page that does not come is asked for again                               (R4b)
          Since,        \* a second sync of a connection goes on from its token, not with what is unacknowledged (R4a)
          Repeat,       \* after a sync a device says again what no frame of the server has confirmed (PROTOCOL 6)
          Rise          \* a device keeps the maximum of every mark                                   (G7)

VARIABLES clock, open, begun,               \* MySQL's clock; open transactions; changes that somebody has begun
          last, prd, rd, stamp, cur,        \* rows: last number, the peer's mark and the user's, stamp; cursors
          conn, conns, job, pipe, gap, acks, ctoken, \* connections, their syncs, frames and acks on their way, tokens
          held, knows, told, mine, said, conf, token, \* devices: what each holds, knows, has said, has confirmed
          fell, short, left                 \* a mark fell; a sync ended too early; faults left
rows   == <<last, prd, rd, stamp, cur>>
lines  == <<conn, conns, job, pipe, gap, acks, ctoken>>
device == <<held, knows, told, mine, said, conf, token>>
seen   == <<fell, short>>
vars   == <<clock, open, begun, rows, lines, device, seen, left>>

Zero == [c \in Convs |-> 0]
Each(x) == [d \in Devices |-> x]
Max2(a, b) == IF a > b THEN a ELSE b
Min(S) == CHOOSE x \in S : \A y \in S : x <= y
NoJob == [on |-> FALSE]
Fault(k) == k \in Kinds /\ left > 0 /\ left' = left - 1
Without(s, i) == SubSeq(s, 1, i - 1) \o SubSeq(s, i + 1, Len(s))

Init ==
  /\ clock = 1 /\ open = {} /\ begun = {}
  /\ last = Zero /\ prd = Zero /\ rd = Zero /\ stamp = Zero /\ cur = Each(Zero)
  /\ conn = Each(0) /\ conns = 0 /\ job = Each(NoJob) /\ pipe = Each(<<>>) /\ gap = Each(FALSE)
  /\ acks = {} /\ ctoken = Each(0)
  /\ held = Each(Zero) /\ knows = Each(Zero) /\ told = Each(Zero) /\ mine = Each(Zero)
  /\ said = Each({}) /\ conf = Each({}) /\ token = [d \in Devices |-> [of |-> d, at |-> 0]]
  /\ fell = FALSE /\ short = FALSE /\ left = Budget

------------------------------------------------------------------------------
(* Transactions: a message of the peer, the peer's read mark, an acknowledgement of a device *)
Pushed(k, c) == pipe' = [d \in Devices |-> IF conn[d] = 0 THEN pipe[d]
                                           ELSE Append(pipe[d], [t |-> "live", conn |-> conn[d], k |-> k, c |-> c])]
Begin(k, c) == \* it reads the clock for its stamp behind the fence
  /\ <<k, c>> \notin begun /\ begun' = begun \cup {<<k, c>>}
  /\ open' = open \cup {[k |-> k, c |-> c, at |-> clock]} /\ clock' = clock + 1
  /\ UNCHANGED <<rows, lines, device, seen, left>>
Commit(t) ==
  /\ t \in open /\ open' = open \ {t}
  /\ last' = IF t.k = "msg" THEN [last EXCEPT ![t.c] = 1] ELSE last
  /\ prd'  = IF t.k = "prd" THEN [prd EXCEPT ![t.c] = 1] ELSE prd
  /\ stamp' = IF t.k = "msg" \/ StampMarks THEN [stamp EXCEPT ![t.c] = Max2(@, t.at)] ELSE stamp
  /\ Pushed(t.k, t.c)
  /\ UNCHANGED <<clock, begun, rd, cur, conn, conns, job, gap, acks, ctoken, device, seen, left>>
Acknowledged(a) == \* one step: nothing of it depends on when its transaction was begun
  /\ a \in acks /\ acks' = acks \ {a}
  /\ LET c == a.c  news == a.k = "r" /\ rd[c] = 0 IN
     /\ cur' = [cur EXCEPT ![a.d][c] = 1] /\ rd' = IF a.k = "r" THEN [rd EXCEPT ![c] = 1] ELSE rd
     /\ stamp' = IF news /\ StampMarks THEN [stamp EXCEPT ![c] = clock] ELSE stamp
     /\ IF news THEN Pushed("rd", c) /\ clock' = clock + 1 ELSE UNCHANGED <<pipe, clock>>
  /\ UNCHANGED <<open, begun, last, prd, conn, conns, job, gap, ctoken, device, seen, left>>

------------------------------------------------------------------------------
(* The sync: one page for each conversation, and with the last one the token *)
From(d, c) == IF Own THEN cur[d][c] ELSE IF \E x \in Devices : cur[x][c] = 1 THEN 1 ELSE 0
Lacks(d) == {c \in Convs : From(d, c) < last[c]}
Time(d) ==
  LET safe == IF Margin /\ open # {} THEN Min({t.at : t \in open}) - 1 ELSE clock
      pins == IF Pinned THEN {stamp[c] - 1 : c \in Lacks(d)} ELSE {} IN
  Min({safe} \cup pins)
Start(d, n, since, all) ==
  /\ job' = [job EXCEPT ![d] = [on |-> TRUE, conn |-> n, tok |-> Time(d), wait |-> FALSE, owes |-> last, all |-> all,
                                todo |-> IF all THEN {c \in Convs : stamp[c] > since} ELSE Lacks(d)]]
  /\ clock' = clock + 1
Connect(d) ==
  /\ conn[d] = 0 /\ conns < MaxConn /\ conns' = conns + 1 /\ conn' = [conn EXCEPT ![d] = conns + 1]
  /\ gap' = [gap EXCEPT ![d] = FALSE] /\ said' = [said EXCEPT ![d] = {}]
  /\ LET since == IF Bound /\ token[d].of # d THEN 0 ELSE token[d].at IN
     /\ ctoken' = [ctoken EXCEPT ![d] = since]
     /\ IF Numbered \/ ~job[d].on THEN Start(d, conns + 1, since, TRUE) ELSE UNCHANGED <<job, clock>>
  /\ UNCHANGED <<open, begun, rows, pipe, acks, held, knows, told, mine, conf, token, seen, left>>
Again(d) == \* one at a time; what happened meanwhile begins another
  /\ conn[d] # 0 /\ gap[d] /\ ~job[d].on /\ gap' = [gap EXCEPT ![d] = FALSE]
  /\ Start(d, conn[d], ctoken[d], Since)
  /\ UNCHANGED <<open, begun, rows, conn, conns, pipe, acks, ctoken, device, seen, left>>
Page(d) == \* any worker, in one snapshot
  /\ job[d].on /\ ~job[d].wait /\ job' = [job EXCEPT ![d].wait = TRUE]
  /\ LET j == job[d]  put(f) == pipe' = [pipe EXCEPT ![d] = Append(@, f)] IN
     IF j.todo # {}
     THEN LET c == CHOOSE x \in j.todo : TRUE IN
          put([t |-> "page", conn |-> j.conn, c |-> c, upto |-> IF From(d, c) < last[c] THEN last[c] ELSE 0,
               prd |-> prd[c], rd |-> rd[c], cur |-> cur[d][c]])
     ELSE put([t |-> "done", conn |-> j.conn, tok |-> IF ~j.all THEN -1 ELSE IF First THEN j.tok ELSE Time(d), owes |-> j.owes])
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, gap, acks, ctoken, device, seen, left>>
OnItsWay(d) == \E i \in 1..Len(pipe[d]) : pipe[d][i].t # "live"
Ask(d) == \* five seconds without an answer
  /\ AskAgain /\ job[d].on /\ job[d].wait /\ ~OnItsWay(d) /\ job' = [job EXCEPT ![d].wait = FALSE]
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, pipe, gap, acks, ctoken, device, seen, left>>

------------------------------------------------------------------------------
(* The device *)
Mark(old, new) == IF Rise THEN Max2(old, new) ELSE new
Apply(d, c, upto, p, r, confirmed) ==
  /\ held' = [held EXCEPT ![d][c] = Max2(@, upto)]
  /\ knows' = [knows EXCEPT ![d][c] = Mark(@, p)] /\ told' = [told EXCEPT ![d][c] = Mark(@, r)]
  /\ conf' = [conf EXCEPT ![d] = @ \cup confirmed]
  /\ fell' = (fell \/ knows'[d][c] < knows[d][c] \/ told'[d][c] < told[d][c])
Take(d, f) ==
  IF conn[d] = 0 \/ (Numbered /\ f.conn # conn[d]) THEN UNCHANGED <<job, ctoken, device, seen>>
  ELSE CASE f.t = "live" ->
              /\ Apply(d, f.c, IF f.k = "msg" THEN 1 ELSE 0, IF f.k = "prd" THEN 1 ELSE knows[d][f.c],
                       IF f.k = "rd" THEN 1 ELSE told[d][f.c], IF f.k = "rd" THEN {<<f.c, "r">>} ELSE {})
              /\ UNCHANGED <<job, ctoken, mine, said, token, short>>
         [] f.t = "page" ->
              /\ Apply(d, f.c, f.upto, f.prd, f.rd, {<<f.c, k>> : k \in {x \in {"d", "r"} : (IF x = "d" THEN f.cur ELSE f.rd) = 1}})
              /\ job' = IF job[d].on THEN [job EXCEPT ![d].todo = @ \ {f.c}, ![d].wait = FALSE] ELSE job
              /\ UNCHANGED <<ctoken, mine, said, token, short>>
         [] f.t = "done" ->
              /\ job' = [job EXCEPT ![d] = NoJob]
              /\ token' = IF f.tok < 0 THEN token ELSE [token EXCEPT ![d] = [of |-> d, at |-> f.tok]]
              /\ ctoken' = IF f.tok < 0 THEN ctoken ELSE [ctoken EXCEPT ![d] = f.tok]
              /\ said' = IF Repeat THEN [said EXCEPT ![d] = {}] ELSE said
              /\ short' = (short \/ \E c \in Convs : held[d][c] < f.owes[c])
              /\ UNCHANGED <<held, knows, told, mine, conf, fell>>
Firsts(d) == \* of two publishers: each keeps its order
  {i \in 1..Len(pipe[d]) : \A j \in 1..(i - 1) : (pipe[d][j].t = "live") # (pipe[d][i].t = "live")}
Receive(d) == \E i \in Firsts(d) :
  /\ pipe' = [pipe EXCEPT ![d] = Without(@, i)] /\ Take(d, pipe[d][i])
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, gap, acks, left>>
ReadIt(d, c) ==
  /\ c \in Reads /\ held[d][c] = 1 /\ mine[d][c] = 0 /\ mine' = [mine EXCEPT ![d][c] = 1]
  /\ UNCHANGED <<clock, open, begun, rows, lines, held, knows, told, said, conf, token, seen, left>>
Say(d, c, k) ==
  /\ conn[d] # 0 /\ (IF k = "d" THEN held ELSE mine)[d][c] = 1 /\ <<c, k>> \notin said[d] \cup conf[d]
  /\ said' = [said EXCEPT ![d] = @ \cup {<<c, k>>}] /\ acks' = acks \cup {[d |-> d, c |-> c, k |-> k]}
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, job, pipe, gap, ctoken, held, knows, told, mine, conf, token, seen, left>>

------------------------------------------------------------------------------
(* Faults *)
Lose(d) == \* a subscription made again: what was on its way is gone, and its gateway knows
  /\ Fault("loss") /\ conn[d] # 0 /\ pipe[d] # <<>> /\ gap' = [gap EXCEPT ![d] = TRUE]
  /\ \E i \in 1..Len(pipe[d]) : pipe' = [pipe EXCEPT ![d] = Without(@, i)]
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, job, acks, ctoken, device, seen>>
PageLost(d) == \* and nobody notices
  /\ Fault("page") /\ \E i \in 1..Len(pipe[d]) : pipe[d][i].t # "live" /\ pipe' = [pipe EXCEPT ![d] = Without(@, i)]
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, job, gap, acks, ctoken, device, seen>>
AckLost == \* Redis was emptied: every gateway finds its key gone
  /\ Fault("acklost") /\ \E a \in acks : acks' = acks \ {a} /\ gap' = [d \in Devices |-> conn[d] # 0]
  /\ UNCHANGED <<clock, open, begun, rows, conn, conns, job, pipe, ctoken, device, seen>>
Drop(d) == \* the socket dies; some of what was written to it still arrived nowhere
  /\ Fault("drop") /\ conn[d] # 0 /\ conn' = [conn EXCEPT ![d] = 0] /\ gap' = [gap EXCEPT ![d] = FALSE]
  /\ \E i \in 0..Len(pipe[d]) : pipe' = [pipe EXCEPT ![d] = SubSeq(@, i + 1, Len(@))]
  /\ job' = IF Numbered THEN [job EXCEPT ![d] = NoJob] ELSE job
  /\ UNCHANGED <<clock, open, begun, rows, conns, acks, ctoken, device, seen>>
Copy(d) == \* a device begins with what another had kept, but for its messages
  /\ Fault("copy") /\ conn[d] = 0 /\ \E x \in Devices \ {d} : token' = [token EXCEPT ![d] = token[x]]
  /\ UNCHANGED <<clock, open, begun, rows, lines, held, knows, told, mine, said, conf, seen>>

Progress ==
  \/ (\E c \in Convs : Begin("msg", c)) \/ (\E c \in Reads : Begin("prd", c)) \/ (\E t \in open : Commit(t))
  \/ (\E a \in acks : Acknowledged(a))
  \/ \E d \in Devices : \/ Again(d) \/ Page(d) \/ Ask(d) \/ Receive(d)
                        \/ (\E c \in Convs : ReadIt(d, c) \/ Say(d, c, "d") \/ Say(d, c, "r"))
Faults == AckLost \/ \E d \in Devices : Lose(d) \/ PageLost(d) \/ Drop(d) \/ Copy(d)
Next == Progress \/ Faults \/ \E d \in Devices : Connect(d)
Spec == Init /\ [][Next]_vars

------------------------------------------------------------------------------
(* What is promised *)
Whole(d) == conn[d] # 0 => held[d] = last /\ cur[d] = last                              \* G5
Agrees(d) == conn[d] # 0 => /\ knows[d] = prd /\ told[d] = rd                           \* G8
                            /\ \A c \in Convs : mine[d][c] <= rd[c]
Complete == (~ENABLED Progress) => \A d \in Devices : Whole(d)
Settles == (~ENABLED Progress) => \A d \in Devices : Whole(d) /\ Agrees(d)
BringsAll == ~short                                            \* a finished sync left nothing out that was there before
Monotone == ~fell                                                                       \* G7
OwnWord == \A d \in Devices : \A c \in Convs : cur[d][c] <= held[d][c] /\ (rd[c] = 1 => \E x \in Devices : mine[x][c] = 1)
Sym == Permutations(Devices)
=============================================================================
