import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import javax.jms.BytesMessage;
import javax.jms.DeliveryMode;
import javax.jms.InvalidDestinationException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.DestinationInfo;

/** What is there again when the broker has ended and is started again. */
abstract class Persistence extends PersistentTest {
    private static final int BIG_BYTES = 20_000_000;
    private static final long HOUR = 3_600_000;

    /** Ends the broker in the way that this class is about. */
    abstract void halt(Broker broker) throws Exception;

    private void restart() throws Exception {
        halt(broker());
        broker().startAgain();
    }

    // Messages on queues.

    @Test
    void messages_of_every_type_come_back_in_order_with_all_they_carry() throws Exception {
        List<Message> sent = sendSamples(connect());
        restart();
        takeSamples(sent);
    }

    @Test
    void compressed_messages_of_every_type_come_back_in_order_with_all_they_carry() throws Exception {
        List<Message> sent = sendSamples(connect("jms.useCompression=true"));
        restart();
        takeSamples(sent);
    }

    private List<Message> sendSamples(ActiveMQConnection connection) throws Exception {
        Session session = auto(connection);
        MessageProducer producer = session.createProducer(queue());
        List<Message> sent = new ArrayList<>();
        for (Sample sample : Sample.all()) {
            Message message = sample.make(session);
            dress(message, sent.size());
            producer.send(message, DeliveryMode.PERSISTENT, sent.size() % 10, HOUR);
            sent.add(message);
        }
        return sent;
    }

    private void dress(Message message, int number) throws JMSException {
        message.setJMSCorrelationID("correlation " + number);
        message.setJMSType("type " + number);
        message.setJMSReplyTo(number % 2 == 0 ? queue("reply") : topic("reply"));
        message.setBooleanProperty("boolean", true);
        message.setByteProperty("byte", (byte) number);
        message.setShortProperty("short", (short) -number);
        message.setIntProperty("int", number);
        message.setLongProperty("long", Long.MIN_VALUE + number);
        message.setFloatProperty("float", number / 3f);
        message.setDoubleProperty("double", number / 3d);
        message.setStringProperty("string", Sample.PLAIN + number);
        message.setStringProperty(Sample.PLAIN, "name of all characters");
    }

    private void takeSamples(List<Message> sent) throws Exception {
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        for (int i = 0; i < sent.size(); i++) {
            Message got = take(consumer);
            Sample.all().get(i).verify(got);
            equal(carried(sent.get(i)), carried(got), Sample.all().get(i).name());
            equal(false, got.getJMSRedelivered());
            equal(1, deliveryCount(got));
        }
        nothing(consumer);
    }

    private static List<Object> carried(Message message) throws JMSException {
        List<Object> all = new ArrayList<>(Arrays.asList(message.getJMSMessageID(), message.getJMSTimestamp(),
                message.getJMSDestination(), message.getJMSDeliveryMode(), message.getJMSPriority(),
                message.getJMSExpiration(), message.getJMSCorrelationID(), message.getJMSType(),
                message.getJMSReplyTo()));
        List<String> names = new ArrayList<>();
        for (Object name : Collections.list(message.getPropertyNames())) {
            names.add((String) name);
        }
        // Only what was received has one.
        names.remove("JMSXDeliveryCount");
        names.sort(Comparator.naturalOrder());
        for (String name : names) {
            all.add(name + "=" + message.getObjectProperty(name));
        }
        return all;
    }

    @Test
    void messages_without_persistence_are_gone() throws Exception {
        Session session = auto(connect());
        send(session, queue(), "kept one");
        sendNumbers(session, queue(), 10);
        send(session, queue(), "kept two");
        restart();
        equal(List.of("kept one", "kept two"), drain(queue()));
    }

    @Test
    void messages_sent_afterwards_come_behind_those_of_before() throws Exception {
        send(auto(connect()), queue(), "one", "two");
        restart();
        send(auto(connect()), queue(), "three", "four");
        restart();
        send(auto(connect()), queue(), "five");
        equal(List.of("one", "two", "three", "four", "five"), drain(queue()));
    }

    @Test(seconds = 120)
    void a_queue_that_is_half_read_before_each_of_many_ends_is_read_in_order() throws Exception {
        List<String> got = new ArrayList<>();
        for (int round = 0; round < 5; round++) {
            ActiveMQConnection connection = connect();
            send(auto(connection), queue(), numbers(round * 10, round * 10 + 10).toArray(String[]::new));
            got.addAll(takeTexts(auto(connection).createConsumer(queue()), 5));
            stored(connection);
            restart();
        }
        got.addAll(drain(queue()));
        equal(numbers(0, 50), got);
    }

    @Test
    void a_prioritized_queue_gives_the_higher_priorities_first() throws Exception {
        ActiveMQQueue queue = new ActiveMQQueue("Prioritized." + name());
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue);
        for (int i = 0; i < 30; i++) {
            int priority = List.of(1, 4, 8).get(i % 3);
            producer.send(session.createTextMessage(priority + "." + i), DeliveryMode.PERSISTENT, priority, 0);
        }
        restart();
        List<String> expected = new ArrayList<>();
        for (int rest : List.of(2, 1, 0)) {
            for (int i = rest; i < 30; i += 3) {
                expected.add(List.of(1, 4, 8).get(rest) + "." + i);
            }
        }
        equal(expected, drain(queue));
    }

    @Test
    void what_expires_while_the_broker_is_away_is_dead_and_the_rest_is_there() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        producer.setTimeToLive(500);
        Message expiring = session.createTextMessage("expiring");
        producer.send(expiring);
        producer.setTimeToLive(HOUR);
        producer.send(session.createTextMessage("lasting"));
        halt(broker());
        eventually("its time is over", () -> System.currentTimeMillis() > expiring.getJMSExpiration());
        broker().startAgain();
        equal(List.of("lasting"), drain(queue()));
        ActiveMQMessage dead = (ActiveMQMessage) take(auto(connect()).createConsumer(DEAD_LETTERS));
        equal(expiring.getJMSMessageID(), dead.getJMSMessageID());
        equal(queue(), dead.getOriginalDestination());
        equal(expiring.getJMSExpiration(), dead.getLongProperty("originalExpiration"));
        contains("Message Expired", dead.getStringProperty("dlqDeliveryFailureCause"));
    }

    @Test
    void groups_have_one_consumer_each() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 40; i++) {
            Message message = session.createTextMessage(i % 4 + "." + i / 4);
            message.setStringProperty("JMSXGroupID", "group " + i % 4);
            producer.send(message);
        }
        restart();
        MessageConsumer one = auto(connect()).createConsumer(queue());
        MessageConsumer two = auto(connect()).createConsumer(queue());
        List<String> first = takeAll(one);
        List<String> second = takeAll(two);
        Set<Character> both = groups(first);
        both.retainAll(groups(second));
        equal(Set.of(), both, "groups that both consumers saw");
        for (List<String> each : List.of(first, second)) {
            for (char group : groups(each)) {
                equal(10L, each.stream().filter(text -> text.charAt(0) == group).count(), "group " + group);
                equal(expectedOf(group), each.stream().filter(text -> text.charAt(0) == group).toList());
            }
        }
        equal(40, first.size() + second.size());
    }

    private static Set<Character> groups(List<String> texts) {
        Set<Character> groups = new HashSet<>();
        texts.forEach(text -> groups.add(text.charAt(0)));
        return groups;
    }

    private static List<String> expectedOf(char group) {
        return numbers(0, 10).stream().map(number -> group + "." + number).toList();
    }

    @Test
    void a_selector_finds_what_was_stored() throws Exception {
        Session session = auto(connect());
        for (int i = 0; i < 10; i++) {
            Message message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(queue()).send(message);
        }
        restart();
        MessageConsumer consumer = auto(connect()).createConsumer(queue(), "i = 2 OR i = 7");
        equal(List.of("2", "7"), takeAll(consumer));
    }

    @Test
    void a_browser_sees_all_in_order_and_takes_nothing() throws Exception {
        Session session = transacted(connect());
        send(session, queue(), numbers(0, 1000).toArray(String[]::new));
        session.commit();
        restart();
        QueueBrowser browser = auto(connect()).createBrowser(queue());
        List<String> seen = new ArrayList<>();
        for (Object message : Collections.list(browser.getEnumeration())) {
            seen.add(((TextMessage) message).getText());
        }
        browser.close();
        equal(numbers(0, 1000), seen);
        equal(numbers(0, 1000), drain(queue()));
    }

    @Test(seconds = 120)
    void a_message_of_twenty_megabytes_comes_back() throws Exception {
        byte[] body = new byte[BIG_BYTES];
        new Random(3).nextBytes(body);
        Session session = auto(connect());
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        MessageProducer producer = session.createProducer(queue());
        producer.send(session.createTextMessage("before"));
        producer.send(message);
        producer.send(session.createTextMessage("behind"));
        restart();
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        equal("before", takeText(consumer));
        byte[] got = new byte[BIG_BYTES];
        equal(BIG_BYTES, ((BytesMessage) take(consumer)).readBytes(got));
        check(Arrays.equals(body, got), "other bytes came back");
        equal("behind", takeText(consumer));
    }

    @Test(seconds = 120)
    void twenty_thousand_messages_come_back_in_order() throws Exception {
        Session session = transacted(connect());
        MessageProducer producer = session.createProducer(queue());
        for (int i = 0; i < 20_000; i++) {
            producer.send(session.createTextMessage("" + i));
            if (i % 1000 == 999) {
                session.commit();
            }
        }
        restart();
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        equal(numbers(0, 20_000), takeTexts(consumer, 20_000));
        nothing(consumer);
    }

    @Test
    void a_send_to_several_destinations_is_kept_on_each() throws Exception {
        subscribeAndLeave(topic(), "durable");
        send(auto(connect()), new ActiveMQQueue("queue://" + queue("A").getPhysicalName() + ",queue://"
                + queue("B").getPhysicalName() + ",topic://" + topic().getPhysicalName()), "to all");
        restart();
        equal(List.of("to all"), drain(queue("A")));
        equal(List.of("to all"), drain(queue("B")));
        equal(List.of("to all"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    // Acknowledgements and redelivery.

    @Test
    void what_was_acknowledged_automatically_does_not_come_back() throws Exception {
        acknowledgedDoesNotComeBack(Session.AUTO_ACKNOWLEDGE, message -> { });
    }

    @Test
    void what_a_client_acknowledged_does_not_come_back() throws Exception {
        acknowledgedDoesNotComeBack(Session.CLIENT_ACKNOWLEDGE, message -> {
            if (((TextMessage) message).getText().equals("4")) {
                message.acknowledge();
            }
        });
    }

    @Test
    void what_was_acknowledged_one_by_one_does_not_come_back() throws Exception {
        acknowledgedDoesNotComeBack(ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE, Message::acknowledge);
    }

    @Test
    void what_was_acknowledged_in_batches_does_not_come_back() throws Exception {
        acknowledgedDoesNotComeBack(Session.DUPS_OK_ACKNOWLEDGE, message -> { });
    }

    private interface Acknowledge {
        void to(Message message) throws JMSException;
    }

    /** Takes the first five of ten. */
    private void acknowledgedDoesNotComeBack(int mode, Acknowledge acknowledge) throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), numbers(0, 10).toArray(String[]::new));
        Session session = connection.createSession(false, mode);
        MessageConsumer consumer = session.createConsumer(queue());
        for (String text : numbers(0, 5)) {
            Message message = take(consumer);
            equal(text, ((TextMessage) message).getText());
            acknowledge.to(message);
        }
        consumer.close();
        stored(connection);
        restart();
        equal(numbers(5, 10), drain(queue()));
    }

    @Test
    void what_was_acknowledged_out_of_order_does_not_come_back() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), numbers(0, 10).toArray(String[]::new));
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        MessageConsumer consumer = session.createConsumer(queue());
        List<Message> taken = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            taken.add(take(consumer));
        }
        for (int i : List.of(8, 1, 5)) {
            taken.get(i).acknowledge();
        }
        stored(connection);
        restart();
        equal(List.of("0", "2", "3", "4", "6", "7", "9"), drain(queue()));
    }

    @Test
    void what_a_transaction_took_is_gone_when_it_was_committed_and_there_when_not() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), numbers(0, 10).toArray(String[]::new));
        Session session = transacted(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        takeTexts(consumer, 5);
        session.commit();
        takeTexts(consumer, 3);
        restart();
        equal(numbers(5, 10), drain(queue()));
    }

    @Test
    void what_was_not_acknowledged_comes_back() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "one", "two", "three");
        MessageConsumer consumer = client(connection).createConsumer(queue());
        takeTexts(consumer, 2);
        restart();
        equal(List.of("one", "two", "three"), drain(queue()));
    }

    @Test
    void what_was_delivered_before_comes_again() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "one");
        Session session = client(connection);
        take(session.createConsumer(queue()));
        session.close();
        Message second = take(client(connection).createConsumer(queue()));
        equal(true, second.getJMSRedelivered());
        equal(2, deliveryCount(second));
        restart();
        equal("one", takeText(auto(connect()).createConsumer(queue())));
    }

    @Test
    void the_mark_of_redelivery_is_kept_where_the_policy_says_so() throws Exception {
        start("", "<policyEntry queue=\"Marked.>\" persistJMSRedelivered=\"true\"/>");
        ActiveMQQueue queue = new ActiveMQQueue("Marked." + name());
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=2");
        send(auto(connection), queue, numbers(0, 10).toArray(String[]::new));
        ActiveMQMessageConsumer first = (ActiveMQMessageConsumer) client(connection).createConsumer(queue);
        take(first);
        eventually("one is prefetched", () -> first.getMessageSize() > 0);
        stored(connection);
        restart();
        MessageConsumer consumer = auto(connect()).createConsumer(queue);
        for (String text : numbers(0, 10)) {
            Message message = take(consumer);
            equal(text, ((TextMessage) message).getText());
            // The first was received and the second only prefetched; the last was never on its way.
            if (List.of("0", "1", "9").contains(text)) {
                equal(!text.equals("9"), message.getJMSRedelivered(), text + " redelivered");
                equal(text.equals("9") ? 1 : 2, deliveryCount(message), text + " delivery count");
            }
        }
    }

    @Test
    void dead_letters_are_kept_with_their_cause() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=1"
                + "&jms.redeliveryPolicy.initialRedeliveryDelay=1&jms.redeliveryPolicy.redeliveryDelay=1");
        Session session = transacted(connection);
        send(session, queue(), "poison");
        session.commit();
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        for (int i = 0; i < 2; i++) {
            take(consumer);
            session.rollback();
        }
        nothing(consumer);
        QueueBrowser browser = auto(connection).createBrowser(DEAD_LETTERS);
        eventually("it is dead", () -> browser.getEnumeration().hasMoreElements());
        stored(connection);
        restart();
        equal(List.of(), drain(queue()));
        ActiveMQMessage dead = (ActiveMQMessage) take(auto(connect()).createConsumer(DEAD_LETTERS));
        equal("poison", ((TextMessage) dead).getText());
        equal(queue(), dead.getOriginalDestination());
        contains("redelivery policy limit", dead.getStringProperty("dlqDeliveryFailureCause"));
    }

    // Durable subscriptions.

    @Test
    void a_durable_subscriber_gets_what_was_sent_while_it_was_away() throws Exception {
        subscribeAndLeave(topic(), "durable");
        send(auto(connect()), topic(), "before one", "before two");
        restart();
        send(auto(connect()), topic(), "after");
        equal(List.of("before one", "before two", "after"),
                takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void a_durable_subscription_is_there_as_soon_as_it_was_made() throws Exception {
        subscribe(auto(identified()), topic(), "durable");
        restart();
        send(auto(connect()), topic(), "after");
        restart();
        equal(List.of("after"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void a_durable_subscriber_goes_on_where_it_acknowledged() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(auto(connection), topic(), "durable");
        send(auto(connection), topic(), numbers(0, 10).toArray(String[]::new));
        takeTexts(subscriber, 4);
        stored(connection);
        restart();
        equal(numbers(4, 10), takeAll(subscribe(auto(identified()), topic(), "durable")));
        restart();
        nothing(subscribe(auto(identified()), topic(), "durable"));
    }

    @Test
    void two_durable_subscriptions_have_positions_of_their_own() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer quick = subscribe(auto(connection), topic(), "quick");
        MessageConsumer slow = subscribe(auto(connection), topic(), "slow");
        send(auto(connection), topic(), numbers(0, 10).toArray(String[]::new));
        takeTexts(quick, 8);
        takeTexts(slow, 3);
        stored(connection);
        restart();
        Session session = auto(identified());
        equal(numbers(8, 10), takeAll(subscribe(session, topic(), "quick")));
        equal(numbers(3, 10), takeAll(subscribe(session, topic(), "slow")));
    }

    @Test
    void what_a_durable_subscriber_did_not_acknowledge_comes_back() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(client(connection), topic(), "durable");
        send(auto(connection), topic(), "one", "two", "three");
        takeTexts(subscriber, 2);
        restart();
        equal(List.of("one", "two", "three"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void what_a_durable_subscriber_acknowledged_out_of_order_does_not_come_back() throws Exception {
        ActiveMQConnection connection = identified();
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        MessageConsumer subscriber = subscribe(session, topic(), "durable");
        send(auto(connection), topic(), "0", "1", "2", "3");
        List<Message> taken = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            taken.add(take(subscriber));
        }
        taken.get(2).acknowledge();
        taken.get(0).acknowledge();
        stored(connection);
        restart();
        equal(List.of("1", "3"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void the_selector_of_a_durable_subscription_holds() throws Exception {
        subscribeAndLeave(topic(), "durable", "i > 1", false);
        sendWithNumber(4);
        restart();
        sendWithNumber(4);
        MessageConsumer subscriber = auto(identified()).createDurableSubscriber(topic(), "durable", "i > 1", false);
        equal(List.of("2", "3", "2", "3"), takeAll(subscriber));
    }

    @Test
    void another_selector_starts_a_durable_subscription_anew() throws Exception {
        subscribeAndLeave(topic(), "durable", "i > 1", false);
        sendWithNumber(4);
        restart();
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = auto(connection).createDurableSubscriber(topic(), "durable", "i = 0", false);
        nothing(subscriber);
        connection.close();
        restart();
        sendWithNumber(4);
        subscriber = auto(identified()).createDurableSubscriber(topic(), "durable", "i = 0", false);
        equal(List.of("0"), takeAll(subscriber));
    }

    @Test
    void a_durable_subscription_without_local_messages_stays_so() throws Exception {
        subscribeAndLeave(topic(), "durable", null, true);
        send(auto(connect()), topic(), "of another");
        restart();
        ActiveMQConnection connection = identified();
        Session session = auto(connection);
        MessageConsumer subscriber = session.createDurableSubscriber(topic(), "durable", null, true);
        send(session, topic(), "own");
        send(auto(connect()), topic(), "of another again");
        equal(List.of("of another", "of another again"), takeAll(subscriber));
    }

    @Test
    void an_ended_durable_subscription_stays_ended() throws Exception {
        subscribeAndLeave(topic(), "kept");
        subscribeAndLeave(topic(), "ended");
        send(auto(connect()), topic(), "old");
        ActiveMQConnection connection = identified();
        auto(connection).unsubscribe("ended");
        connection.close();
        restart();
        Session session = auto(identified());
        refused(InvalidDestinationException.class, () -> session.unsubscribe("ended"));
        nothing(subscribe(session, topic(), "ended"));
        equal("old", takeText(subscribe(session, topic(), "kept")));
    }

    @Test
    void a_durable_subscription_to_a_wildcard_collects_from_all_its_topics() throws Exception {
        subscribeAndLeave(topic(">"), "durable");
        send(auto(connect()), topic("A"), "before");
        restart();
        send(auto(connect()), topic("B"), "after");
        equal(List.of("before", "after"), takeAll(subscribe(auto(identified()), topic(">"), "durable")));
    }

    @Test
    void a_durable_subscriber_loses_messages_without_persistence_only() throws Exception {
        subscribeAndLeave(topic(), "durable");
        Session session = auto(connect());
        send(session, topic(), "kept one");
        sendNumbers(session, topic(), 3);
        send(session, topic(), "kept two");
        restart();
        equal(List.of("kept one", "kept two"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    private void sendWithNumber(int count) throws Exception {
        Session session = auto(connect());
        for (int i = 0; i < count; i++) {
            Message message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(topic()).send(message);
        }
    }

    // Destinations.

    @Test
    void a_queue_that_an_administrator_made_is_still_there() throws Exception {
        ActiveMQConnection connection = connect();
        administer(connection, DestinationInfo.ADD_OPERATION_TYPE);
        // A broker need not have stored before its next orderly end what holds no message.
        broker().stop();
        broker().startAgain();
        restart();
        ActiveMQConnection next = connect();
        eventually("it is known", () -> next.getDestinationSource().getQueues().contains(queue()));
    }

    @Test
    void a_queue_that_an_administrator_removed_stays_away_with_its_messages() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "old");
        send(auto(connection), queue("other"), "kept");
        administer(connection, DestinationInfo.REMOVE_OPERATION_TYPE);
        restart();
        ActiveMQConnection next = connect();
        eventually("the other is known", () -> next.getDestinationSource().getQueues().contains(queue("other")));
        check(!next.getDestinationSource().getQueues().contains(queue()), "it is there again");
        equal(List.of(), drain(queue()));
        equal(List.of("kept"), drain(queue("other")));
    }

    private void administer(ActiveMQConnection connection, byte operation) throws Exception {
        connection.syncSendPacket(new DestinationInfo(
                connection.getConnectionInfo().getConnectionId(), operation, queue()));
    }

    // Transactions.

    @Test
    void a_committed_transaction_is_there_on_all_its_queues_and_topics() throws Exception {
        subscribeAndLeave(topic(), "durable");
        Session session = transacted(connect());
        sendEverywhere(session, 10);
        session.commit();
        restart();
        equal(numbers(0, 10), drain(queue("A")));
        equal(numbers(0, 10), drain(queue("B")));
        equal(numbers(0, 10), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void an_open_transaction_leaves_nothing() throws Exception {
        subscribeAndLeave(topic(), "durable");
        ActiveMQConnection connection = connect();
        sendEverywhere(transacted(connection), 10);
        stored(connection);
        restart();
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
        equal(List.of(), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void a_rolled_back_transaction_leaves_nothing() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        sendEverywhere(session, 10);
        session.rollback();
        send(session, queue("A"), "kept");
        session.commit();
        restart();
        equal(List.of("kept"), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
    }

    @Test
    void what_a_committed_transaction_moved_is_at_its_new_place_only() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue("A"), numbers(0, 6).toArray(String[]::new));
        Session session = transacted(connection);
        MessageConsumer from = session.createConsumer(queue("A"));
        move(session, from, 3);
        session.commit();
        move(session, from, 2);
        stored(connection);
        restart();
        equal(numbers(3, 6), drain(queue("A")));
        equal(numbers(0, 3), drain(queue("B")));
    }

    private void move(Session session, MessageConsumer from, int count) throws Exception {
        MessageProducer to = session.createProducer(queue("B"));
        for (int i = 0; i < count; i++) {
            to.send(take(from));
        }
    }

    private void sendEverywhere(Session session, int count) throws JMSException {
        MessageProducer producer = session.createProducer(null);
        for (String text : numbers(0, count)) {
            producer.send(queue("A"), session.createTextMessage(text));
            producer.send(topic(), session.createTextMessage(text));
            producer.send(queue("B"), session.createTextMessage(text));
        }
    }
}

/** After an end that an operator asked for. */
final class PersistenceAfterStop extends Persistence {
    @Override
    void halt(Broker broker) throws Exception {
        broker.stop();
    }
}

/** After an end without any warning. */
final class PersistenceAfterKill extends Persistence {
    @Override
    void halt(Broker broker) throws Exception {
        broker.kill();
    }
}
