------------------------------ MODULE Takeover ------------------------------
(* Who may write, and what happens to an event from the stream to the table.   *)
(*                                                                              *)
(* Two delivery workers, one or two partitions (one conversation in each), a    *)
(* client that sends, repeats what is not answered, and may leave for good.     *)
(* Rules R1, R2, R3; promises G1 to G4 and the workers' half of G8.             *)
(*                                                                              *)
(* How to read it: `x' = ...` is the value of x after a step; a step may happen *)
(* when all its conditions hold; the checker tries every step in every state.   *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS Workers, None, Ghost, Dead,
          NPart,       \* partitions
          NMsg,        \* messages the client sends, in order, on one connection; spread over the partitions
          Budget,      \* faults in all
          Kinds,       \* which faults
          MaxLen,      \* longest stream
          \* The rules that a configuration may take away:
          Fence,       \* "lock": SELECT ... FOR UPDATE first | "plain": an ordinary read | "none"          (R1c)
          Insert,      \* "plain": a taken key fails the transaction | "upsert": it is swallowed            (R1a)
          Dedupe,      \* the table has a unique key on the client's id                                     (R1a)
          Unknown,     \* memory after an unanswered COMMIT: "forget" | "keep" as it was | "advance"        (R1b)
          Fresh,       \* a takeover begins with an empty memory                                            (R1b)
          Cache,       \* an owner remembers ids; without it every repetition meets the unique key
          Groups,      \* "epoch": a group per epoch from 0, older ones destroyed | "shared": one for ever  (R2)
          From,        \* a new group begins at "zero": all that is unsettled | "end": what is new          (R2)
          Reread,      \* after a failed read or publication: own anew, read from the start                 (R2)
          Reap,        \* MySQL ends the session of a vanished worker                                       (R2a)
          Order,       \* "commit" before publish and settle | "answer" first | "settle" before publish     (R3)
          Split        \* BEGIN and COMMIT are two steps; with the lock one step shows the same

VARIABLES stream, groups,                                \* Redis: entries; who has been given which of them
          row, counter, table, lock, ghost, stale,       \* MySQL: fence, epochs, messages, locks; a commit too late?
          named,                                         \* whom the beats name as owner; nobody need know it yet
          pc, own, ep, take, mem, todo, replay, plan,    \* workers
          upto, answer, odd, again, gone,                \* the client that sends (odd: two answers differ)
          told, away,                                    \* the recipient's devices
          left                                           \* faults left
redis == <<stream, groups>>
mysql == <<row, counter, table, lock, ghost, stale>>
work  == <<pc, own, ep, take, mem, todo, replay, plan>>
client == <<upto, answer, odd, again, gone>>
peer  == <<told, away>>
vars  == <<redis, mysql, named, work, client, peer, left>>

Parts == 1..NPart
Msgs  == 1..NMsg
Seqs  == 1..(2 * NMsg)
Place(v) == 1 + (v % NPart)                     \* the partition of a message
Ours(p) == {v \in Msgs : Place(v) = p}
NoMem == [last |-> -1, known |-> {}]
Max(S) == CHOOSE x \in S : \A y \in S : y <= x
Range(s) == {s[i] : i \in 1..Len(s)}
Number(p, v) == IF \E q \in Seqs : table[p][q] = v THEN CHOOSE q \in Seqs : table[p][q] = v ELSE 0
Last(p) == Max({0} \cup {q \in Seqs : table[p][q] # 0})
Stored == UNION {{table[p][q] : q \in Seqs} \ {0} : p \in Parts}
Fault(k) == k \in Kinds /\ left > 0 /\ left' = left - 1

Init ==
  /\ stream = [p \in Parts |-> <<>>] /\ groups = [p \in Parts |-> {}]
  /\ row = [p \in Parts |-> [ep |-> 0, owner |-> None]] /\ counter = 0
  /\ table = [p \in Parts |-> [q \in Seqs |-> 0]] /\ lock = [p \in Parts |-> None] /\ ghost = <<>> /\ stale = FALSE
  /\ named \in [Parts -> Workers]
  /\ pc = [w \in Workers |-> "idle"] /\ own = [w \in Workers |-> {}] /\ ep = [w \in Workers |-> 0]
  /\ take = [w \in Workers |-> {}] /\ mem = [w \in Workers |-> [p \in Parts |-> NoMem]]
  /\ todo = [w \in Workers |-> <<>>] /\ replay = [w \in Workers |-> FALSE] /\ plan = [w \in Workers |-> <<>>]
  /\ upto = 0 /\ answer = [v \in Msgs |-> 0] /\ odd = FALSE /\ again = {} /\ gone = FALSE
  /\ told = {} /\ away = FALSE
  /\ left = Budget

------------------------------------------------------------------------------
(* The client, and the gateway's XADD. Entry ids are used again once nobody     *)
(* can remember them; in the stream, the place is the order.                    *)
Ids(p) == {e.id : e \in Range(stream[p])} \cup UNION {g.got : g \in groups[p]}
          \cup UNION {{e.id : e \in {f \in Range(todo[w]) : f.p = p}} : w \in Workers}
NewId(p) == CHOOSE i \in 1..20 : i \notin Ids(p) /\ \A j \in 1..(i - 1) : j \in Ids(p)
Entry(v) == [id |-> NewId(Place(v)), p |-> Place(v), v |-> v]
Add(v) == stream' = [stream EXCEPT ![Place(v)] = Append(@, Entry(v))]
Room(v) == Len(stream[Place(v)]) < MaxLen
Waits(v) == \E e \in UNION ({Range(stream[p]) : p \in Parts} \cup {Range(todo[w]) : w \in Workers}) : e.v = v

Send == /\ ~gone /\ upto < NMsg /\ Room(upto + 1)
        /\ upto' = upto + 1 /\ Add(upto + 1)
        /\ UNCHANGED <<groups, mysql, named, work, answer, odd, again, gone, peer, left>>
Refused == \* the XADD failed: the client hears `unavailable`, and repeats it
        /\ Fault("refused") /\ ~gone /\ upto < NMsg
        /\ upto' = upto + 1 /\ again' = again \cup {upto + 1}
        /\ UNCHANGED <<redis, mysql, named, work, answer, odd, gone, peer>>
Repeat(v) == /\ ~gone /\ v <= upto /\ answer[v] = 0 /\ Room(v)
             /\ Add(v) /\ again' = again \cup {v}
             /\ UNCHANGED <<groups, mysql, named, work, upto, answer, odd, gone, peer>>
Resend(v) == ~Waits(v) /\ Repeat(v) /\ UNCHANGED left \* 10 s without an answer
ResendEarly(v) == Fault("early") /\ Repeat(v)          \* the XADD's answer was lost, or the worker is slow

------------------------------------------------------------------------------
(* Taking over. Nothing here depends on who is named: a paused worker may act   *)
(* at any later time on what it believed before.                                *)
Take(w) == LET ps == {p \in Parts : named[p] = w /\ lock[p] = None} \ own[w] IN
  /\ pc[w] = "idle" /\ ps # {}
  /\ take' = [take EXCEPT ![w] = ps] /\ pc' = [pc EXCEPT ![w] = "draw"]
  /\ UNCHANGED <<redis, mysql, named, own, ep, mem, todo, replay, plan, client, peer, left>>
GiveWay(w) == LET ps == {p \in own[w] : named[p] # w} IN
  /\ pc[w] = "idle" /\ ps # {}
  /\ own' = [own EXCEPT ![w] = @ \ ps]
  /\ todo' = [todo EXCEPT ![w] = SelectSeq(@, LAMBDA e : e.p \notin ps)]
  /\ UNCHANGED <<redis, mysql, named, pc, ep, take, mem, replay, plan, client, peer, left>>
Draw(w) == \* a number higher than all before, in a transaction of its own; memory and entries in hand are dropped
  /\ pc[w] = "draw"
  /\ counter' = counter + 1 /\ ep' = [ep EXCEPT ![w] = counter + 1]
  /\ todo' = [todo EXCEPT ![w] = <<>>] /\ plan' = [plan EXCEPT ![w] = <<>>]
  /\ mem' = IF Fresh THEN [mem EXCEPT ![w] = [p \in Parts |-> NoMem]] ELSE mem
  /\ pc' = [pc EXCEPT ![w] = "raise"]
  /\ UNCHANGED <<redis, row, table, lock, ghost, stale, named, own, take, replay, client, peer, left>>
Raise(w) == \* rows that somebody holds are left out: SKIP LOCKED
  LET mine == {p \in own[w] \cup take[w] : /\ lock[p] = None /\ row[p].ep < ep[w]
                                           /\ (p \in take[w] \/ row[p].owner = w)} IN
  /\ pc[w] = "raise"
  /\ row' = [p \in Parts |-> IF p \in mine THEN [ep |-> ep[w], owner |-> w] ELSE row[p]]
  /\ own' = [own EXCEPT ![w] = mine] /\ take' = [take EXCEPT ![w] = {}]
  /\ pc' = [pc EXCEPT ![w] = IF mine = {} THEN "idle" ELSE "open"]
  /\ UNCHANGED <<redis, counter, table, lock, ghost, stale, named, ep, mem, todo, replay, plan, client, peer, left>>
Group(w) == IF Groups = "epoch" THEN ep[w] ELSE 0
Open(w) == \* XGROUP CREATE ... 0
  /\ pc[w] = "open"
  /\ groups' = [p \in Parts |-> IF p \in own[w] /\ \A g \in groups[p] : g.ep # Group(w)
                  THEN groups[p] \cup {[ep |-> Group(w), got |-> IF From = "zero" THEN {} ELSE {e.id : e \in Range(stream[p])}]}
                  ELSE groups[p]]
  /\ pc' = [pc EXCEPT ![w] = "close"]
  /\ UNCHANGED <<stream, mysql, named, own, ep, take, mem, todo, replay, plan, client, peer, left>>
Close(w) == \* XGROUP DESTROY of the older ones
  /\ pc[w] = "close"
  /\ groups' = [p \in Parts |-> IF p \in own[w] THEN {g \in groups[p] : g.ep >= Group(w)} ELSE groups[p]]
  /\ pc' = [pc EXCEPT ![w] = "idle"] /\ replay' = [replay EXCEPT ![w] = TRUE]
  /\ UNCHANGED <<stream, mysql, named, own, ep, take, mem, todo, plan, client, peer, left>>

------------------------------------------------------------------------------
(* Reading *)
Mine(w, p) == {g \in groups[p] : g.ep = Group(w)}
Given(w, p) == UNION {g.got : g \in Mine(w, p)}
News(w, p) == SelectSeq(stream[p], LAMBDA e : e.id \notin Given(w, p))
HasNews(w) == \E p \in own[w] : News(w, p) # <<>>
RECURSIVE Joined(_, _)
Joined(w, p) == IF p > NPart THEN <<>> ELSE (IF p \in own[w] THEN News(w, p) ELSE <<>>) \o Joined(w, p + 1)
MarkRead(w) == groups' = [p \in Parts |-> IF p \in own[w]
  THEN (groups[p] \ Mine(w, p)) \cup {[g EXCEPT !.got = @ \cup {e.id : e \in Range(stream[p])}] : g \in Mine(w, p)}
  ELSE groups[p]]
CanRead(w) == pc[w] = "idle" /\ own[w] # {} /\ (\A e \in Range(todo[w]) : lock[e.p] \notin {None, w})
NoGroup(w) == \E p \in own[w] : Mine(w, p) = {}
Read(w) ==
  /\ CanRead(w) /\ ~NoGroup(w) /\ HasNews(w)
  /\ MarkRead(w) /\ todo' = [todo EXCEPT ![w] = @ \o Joined(w, 1)]
  /\ UNCHANGED <<stream, mysql, named, pc, own, ep, take, mem, replay, plan, client, peer, left>>
ReadNothing(w) == \* all that was unsettled at the takeover is handled
  /\ CanRead(w) /\ ~NoGroup(w) /\ ~HasNews(w) /\ replay[w]
  /\ replay' = [replay EXCEPT ![w] = FALSE]
  /\ UNCHANGED <<redis, mysql, named, pc, own, ep, take, mem, todo, plan, client, peer, left>>
ReadFails(w) == \* NOGROUP: Redis was wiped, or a successor destroyed it
  /\ CanRead(w) /\ NoGroup(w) /\ pc' = [pc EXCEPT ![w] = "draw"]
  /\ UNCHANGED <<redis, mysql, named, own, ep, take, mem, todo, replay, plan, client, peer, left>>
ReadLost(w) == \* given to this worker, and the answer never came
  /\ Fault("read") /\ CanRead(w) /\ ~NoGroup(w) /\ HasNews(w)
  /\ MarkRead(w) /\ pc' = [pc EXCEPT ![w] = IF Reread THEN "draw" ELSE "idle"]
  /\ UNCHANGED <<stream, mysql, named, own, ep, take, mem, todo, replay, plan, client, peer>>
Claim(w) == \* only with one group for ever: take what another was given and did not settle
  /\ Groups = "shared" /\ pc[w] = "idle" /\ todo[w] = <<>>
  /\ \E p \in own[w] : LET strays == SelectSeq(stream[p], LAMBDA e : e.id \in Given(w, p)) IN
       strays # <<>> /\ todo' = [todo EXCEPT ![w] = strays]
  /\ UNCHANGED <<redis, mysql, named, pc, own, ep, take, mem, replay, plan, client, peer, left>>

------------------------------------------------------------------------------
(* One transaction for the events in hand of all partitions that are not locked *)
RECURSIVE PlanOf(_, _, _, _)
PlanOf(es, n, known, acc) == \* numbers for the sends `es` of one partition, from n + 1
  IF es = <<>> THEN acc
  ELSE LET v == Head(es).v  p == Head(es).p IN
       IF \E i \in 1..Len(acc) : acc[i].v = v THEN PlanOf(Tail(es), n, known, acc)
       ELSE IF v \in known THEN PlanOf(Tail(es), n, known, Append(acc, [p |-> p, v |-> v, q |-> Number(p, v), new |-> FALSE]))
       ELSE PlanOf(Tail(es), n + 1, known, Append(acc, [p |-> p, v |-> v, q |-> n + 1, new |-> TRUE]))
Free(w) == {p \in Parts : lock[p] = None \/ Fence # "lock"}
Batch(w, ps) == SelectSeq(todo[w], LAMBDA e : e.p \in ps)
Of(es, p) == SelectSeq(es, LAMBDA e : e.p = p)
Remembered(w, p) == ~replay[w] /\ mem[w][p].last # -1
RECURSIVE Planned(_, _, _)
Planned(w, es, p) ==
  IF p > NPart THEN <<>>
  ELSE PlanOf(Of(es, p), IF Remembered(w, p) THEN mem[w][p].last ELSE Last(p),
              IF replay[w] THEN (IF Dedupe THEN {v \in Ours(p) : Number(p, v) # 0} ELSE {})
              ELSE IF Remembered(w, p) THEN mem[w][p].known ELSE {}, <<>>)
       \o Planned(w, es, p + 1)
News_(pl) == {i \in 1..Len(pl) : pl[i].new}
Taken(pl) == \E i \in News_(pl) : table[pl[i].p][pl[i].q] # 0 \/ (Dedupe /\ Number(pl[i].p, pl[i].v) # 0)
Fits(pl) == \A i \in News_(pl) : pl[i].q \in Seqs
Stored_(pl) == [p \in Parts |-> [q \in Seqs |->
  IF table[p][q] # 0 THEN table[p][q]
  ELSE LET I == {i \in News_(pl) : pl[i].p = p /\ pl[i].q = q /\ ~(Dedupe /\ Number(p, pl[i].v) # 0)} IN
       IF I = {} THEN 0 ELSE pl[CHOOSE i \in I : TRUE].v]]
TooLate(w, pl) == \E i \in News_(pl) : row[pl[i].p] # [ep |-> ep[w], owner |-> w]
Lost(w, es) == {p \in {e.p : e \in Range(es)} : Fence # "none" /\ row[p] # [ep |-> ep[w], owner |-> w]}
After(w, pl) == [p \in Parts |->
  LET mine == {i \in 1..Len(pl) : pl[i].p = p} IN
  IF mine = {} THEN mem[w][p]
  ELSE [last |-> Max({IF Remembered(w, p) THEN mem[w][p].last ELSE Last(p)} \cup {pl[i].q : i \in mine}),
        known |-> IF Cache THEN (IF Remembered(w, p) THEN mem[w][p].known ELSE {}) \cup {pl[i].v : i \in mine} ELSE {}]]
Do(w, pl) == \* an answered COMMIT, or error 1062: forget, look the ids up, plan again
  IF Insert = "plain" /\ Taken(pl)
  THEN /\ replay' = [replay EXCEPT ![w] = TRUE] /\ pc' = [pc EXCEPT ![w] = "idle"]
       /\ plan' = [plan EXCEPT ![w] = <<>>]
       /\ mem' = [mem EXCEPT ![w] = [p \in Parts |-> IF \E e \in Range(todo[w]) : e.p = p THEN NoMem ELSE @[p]]]
       /\ UNCHANGED <<table, stale>>
  ELSE /\ table' = Stored_(pl) /\ stale' = (stale \/ TooLate(w, pl))
       /\ mem' = [mem EXCEPT ![w] = After(w, pl)]
       /\ plan' = [plan EXCEPT ![w] = pl] /\ pc' = [pc EXCEPT ![w] = "publish"]
       /\ UNCHANGED replay
Begin(w) == \* the fence, then everything that is read; what another session locks waits, in its order
  LET es == Batch(w, Free(w))  lost == Lost(w, es)
      mine == SelectSeq(es, LAMBDA e : e.p \notin lost)  pl == Planned(w, mine, 1) IN
  /\ pc[w] = "idle" /\ es # <<>> /\ Fits(pl)
  /\ IF lost # {}
     THEN /\ own' = [own EXCEPT ![w] = @ \ lost]
          /\ todo' = [todo EXCEPT ![w] = SelectSeq(@, LAMBDA e : e.p \notin lost)]
          /\ UNCHANGED <<pc, mem, replay, plan, table, stale, lock, odd, answer>>
     ELSE /\ UNCHANGED <<own, todo>>
          /\ IF Order = "answer" THEN answer' = [v \in Msgs |-> IF answer[v] # 0 THEN answer[v] ELSE
                                            Max({0} \cup {pl[i].q : i \in {j \in 1..Len(pl) : pl[j].v = v}})]
             ELSE UNCHANGED answer
          /\ UNCHANGED odd
          /\ IF Split
             THEN /\ pc' = [pc EXCEPT ![w] = "commit"] /\ plan' = [plan EXCEPT ![w] = pl]
                  /\ lock' = [p \in Parts |-> IF Fence = "lock" /\ \E e \in Range(es) : e.p = p THEN w ELSE lock[p]]
                  /\ UNCHANGED <<mem, replay, table, stale>>
             ELSE Do(w, pl) /\ UNCHANGED lock
  /\ UNCHANGED <<redis, row, counter, ghost, named, ep, take, upto, again, gone, peer, left>>
Unlocked(w) == [p \in Parts |-> IF lock[p] = w THEN None ELSE lock[p]]
Commit(w) ==
  /\ pc[w] = "commit" /\ Do(w, plan[w]) /\ lock' = Unlocked(w)
  /\ UNCHANGED <<redis, row, counter, ghost, named, own, ep, take, todo, client, peer, left>>
CommitUnknown(w) == \* the answer is lost; the transaction may go on for a while, and end either way
  /\ Fault("commit") /\ ghost = <<>> /\ Split /\ pc[w] = "commit"
  /\ ghost' = <<[pl |-> plan[w], late |-> FALSE, w |-> w, ep |-> ep[w]]>>
  /\ lock' = [p \in Parts |-> IF lock[p] = w THEN Ghost ELSE lock[p]]
  /\ mem' = [mem EXCEPT ![w] = [p \in Parts |->
       IF \A e \in Range(todo[w]) : e.p # p THEN @[p]
       ELSE CASE Unknown = "forget" -> NoMem [] Unknown = "keep" -> @[p] [] OTHER -> After(w, plan[w])[p]]]
  /\ replay' = [replay EXCEPT ![w] = (Unknown = "forget")]
  /\ pc' = [pc EXCEPT ![w] = "idle"] /\ plan' = [plan EXCEPT ![w] = <<>>]
  /\ UNCHANGED <<redis, row, counter, table, stale, named, own, ep, take, todo, client, peer>>
GhostEnds == \* with or without an effect
  /\ ghost # <<>> /\ ghost' = <<>>
  /\ lock' = [p \in Parts |-> IF lock[p] = Ghost THEN None ELSE lock[p]]
  /\ LET g == ghost[1] IN
     \/ UNCHANGED <<table, stale>>
     \/ /\ ~(Insert = "plain" /\ Taken(g.pl))
        /\ table' = Stored_(g.pl)
        /\ stale' = (stale \/ \E i \in News_(g.pl) : row[g.pl[i].p] # [ep |-> g.ep, owner |-> g.w])
  /\ UNCHANGED <<redis, row, counter, named, work, client, peer, left>>
Reaped == \* wait_timeout
  /\ Reap /\ \E p \in Parts : lock[p] = Dead
  /\ lock' = [p \in Parts |-> IF lock[p] = Dead THEN None ELSE lock[p]]
  /\ UNCHANGED <<redis, row, counter, table, ghost, stale, named, work, client, peer, left>>

------------------------------------------------------------------------------
(* After the commit: publish and settle in one MULTI *)
Done(w) == {e \in Range(todo[w]) : \E i \in 1..Len(plan[w]) : plan[w][i].v = e.v /\ plan[w][i].p = e.p}
Settled(w) ==
  /\ stream' = [p \in Parts |-> SelectSeq(stream[p], LAMBDA e : e \notin Done(w))]
  /\ groups' = [p \in Parts |-> {[g EXCEPT !.got = @ \ {e.id : e \in {f \in Done(w) : f.p = p}}] : g \in groups[p]}]
Heard(w, v) == IF \E i \in 1..Len(plan[w]) : plan[w][i].v = v
               THEN plan[w][CHOOSE i \in 1..Len(plan[w]) : plan[w][i].v = v].q ELSE 0
Published(w) ==
  /\ answer' = [v \in Msgs |-> IF answer[v] # 0 THEN answer[v] ELSE Heard(w, v)]
  /\ odd' = (odd \/ \E v \in Msgs : Heard(w, v) # 0 /\ answer[v] \notin {0, Heard(w, v)})
  /\ told' = IF away THEN told ELSE told \cup {plan[w][i].v : i \in 1..Len(plan[w])}
Finish(w) == /\ pc' = [pc EXCEPT ![w] = "idle"] /\ plan' = [plan EXCEPT ![w] = <<>>]
             /\ todo' = [todo EXCEPT ![w] = SelectSeq(@, LAMBDA e : e \notin Done(w))]
Publish(w) ==
  /\ pc[w] = "publish" /\ Order # "settle"
  /\ Settled(w) /\ Published(w) /\ Finish(w)
  /\ UNCHANGED <<mysql, named, own, ep, take, mem, replay, upto, again, gone, away, left>>
SettleFirst(w) ==
  /\ pc[w] = "publish" /\ Order = "settle" /\ Settled(w) /\ pc' = [pc EXCEPT ![w] = "tell"]
  /\ UNCHANGED <<mysql, named, own, ep, take, mem, todo, replay, plan, client, peer, left>>
TellLast(w) ==
  /\ pc[w] = "tell" /\ Published(w) /\ Finish(w)
  /\ UNCHANGED <<redis, mysql, named, own, ep, take, mem, replay, upto, again, gone, away, left>>
PublishLost(w) == \* executed and not heard by anybody, or not executed, or executed and not answered: all is read again
  /\ Fault("publish") /\ pc[w] = "publish" /\ Order # "settle"
  /\ \/ Settled(w) /\ Published(w) /\ UNCHANGED away
     \/ UNCHANGED <<redis, answer, odd, peer>>
  /\ pc' = [pc EXCEPT ![w] = IF Reread THEN "draw" ELSE "idle"]
  /\ plan' = [plan EXCEPT ![w] = <<>>] /\ todo' = [todo EXCEPT ![w] = <<>>]
  /\ UNCHANGED <<mysql, named, own, ep, take, mem, replay, upto, again, gone>>
PushLost(w) == \* Pub/Sub loses it: the gateway notices, and its devices sync; the client that sent repeats
  /\ Fault("push") /\ pc[w] = "publish" /\ Order # "settle"
  /\ Settled(w) /\ Finish(w) /\ away' = TRUE
  /\ UNCHANGED <<mysql, named, own, ep, take, mem, replay, client, told>>
Sync == \* the modules Push and Sync show why this is enough
  /\ away /\ away' = FALSE /\ told' = told \cup Stored
  /\ UNCHANGED <<redis, mysql, named, work, client, left>>

------------------------------------------------------------------------------
(* Faults *)
Move == \* the beats name another: a worker was slow, paused, cut off, or new
  /\ Fault("move") /\ \E p \in Parts, w \in Workers : w # named[p] /\ named' = [named EXCEPT ![p] = w]
  /\ UNCHANGED <<redis, mysql, work, client, peer>>
Crash(w) == \* and may come back as a new worker
  /\ Fault("crash") /\ (own[w] # {} \/ pc[w] # "idle")
  /\ pc' = [pc EXCEPT ![w] = "idle"] /\ own' = [own EXCEPT ![w] = {}] /\ ep' = [ep EXCEPT ![w] = 0]
  /\ take' = [take EXCEPT ![w] = {}] /\ mem' = [mem EXCEPT ![w] = [p \in Parts |-> NoMem]]
  /\ todo' = [todo EXCEPT ![w] = <<>>] /\ replay' = [replay EXCEPT ![w] = FALSE] /\ plan' = [plan EXCEPT ![w] = <<>>]
  /\ lock' = [p \in Parts |-> IF lock[p] = w THEN Dead ELSE lock[p]]
  /\ \E x \in Workers : named' = [p \in Parts |-> IF named[p] = w THEN x ELSE named[p]]
  /\ UNCHANGED <<redis, row, counter, table, ghost, stale, client, peer>>
Wipe == /\ Fault("wipe") /\ stream' = [p \in Parts |-> <<>>] /\ groups' = [p \in Parts |-> {}] /\ away' = TRUE
        /\ UNCHANGED <<mysql, named, work, client, told>>
Leave == /\ Fault("leave") /\ ~gone /\ gone' = TRUE
         /\ UNCHANGED <<redis, mysql, named, work, upto, answer, odd, again, peer>>

Progress ==
  \/ Send \/ (\E v \in Msgs : Resend(v)) \/ GhostEnds \/ Reaped \/ Sync
  \/ \E w \in Workers : \/ Take(w) \/ GiveWay(w) \/ Draw(w) \/ Raise(w) \/ Open(w) \/ Close(w)
                        \/ Read(w) \/ ReadNothing(w) \/ ReadFails(w) \/ Claim(w)
                        \/ Begin(w) \/ Commit(w) \/ Publish(w) \/ SettleFirst(w) \/ TellLast(w)
Faults ==
  \/ Refused \/ (\E v \in Msgs : ResendEarly(v)) \/ Move \/ Wipe \/ Leave
  \/ \E w \in Workers : ReadLost(w) \/ CommitUnknown(w) \/ PublishLost(w) \/ PushLost(w) \/ Crash(w)
Next == Progress \/ Faults
Spec == Init /\ [][Next]_vars
Fair == /\ WF_vars(Send) /\ (\A v \in Msgs : WF_vars(Resend(v))) /\ WF_vars(GhostEnds) /\ WF_vars(Reaped) /\ WF_vars(Sync)
        /\ \A w \in Workers : /\ WF_vars(Take(w)) /\ WF_vars(GiveWay(w)) /\ WF_vars(Draw(w)) /\ WF_vars(Raise(w))
                              /\ WF_vars(Open(w)) /\ WF_vars(Close(w)) /\ WF_vars(Read(w)) /\ WF_vars(ReadNothing(w))
                              /\ WF_vars(ReadFails(w)) /\ WF_vars(Begin(w)) /\ WF_vars(Commit(w)) /\ WF_vars(Publish(w))
LiveSpec == Spec /\ Fair

------------------------------------------------------------------------------
(* What is promised *)
NoDuplicate == \A p \in Parts : \A a, b \in Seqs : a # b /\ table[p][a] # 0 => table[p][a] # table[p][b]   \* G2
Dense == \A p \in Parts : \A q \in Seqs : (q <= Last(p)) <=> (table[p][q] # 0)                             \* G3
SentIsStored == \A v \in Msgs : answer[v] # 0 => table[Place(v)][answer[v]] = v                           \* G1
OneAnswer == ~odd                                                                                         \* G2
SenderOrder == \A p \in Parts : \A u, v \in Ours(p) :                                                     \* G4
  u < v /\ Number(p, u) # 0 /\ Number(p, v) # 0 /\ u \notin again => Number(p, u) < Number(p, v)
NoStaleCommit == ~stale                                                                                   \* R1
ToldIsStored == told \subseteq Stored                                                                     \* G1
Converged == /\ ~gone => upto = NMsg /\ \A v \in Msgs : answer[v] # 0
             /\ Stored \subseteq told
             /\ \A p \in Parts : stream[p] = <<>>
Settles == (~ENABLED Progress) => Converged                                                               \* G8
Eventually == <>[]Converged
Sym == Permutations(Workers)
=============================================================================
